"""Orders cut to what a machine can take."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from gateway.dicom.elements import syntax_of
from gateway.dicom.encoding import is_sayable
from gateway.dicom.fitting import KeptBack
from gateway.dicom.identifier import Answer, answer
from gateway.dicom.keys import Asked
from gateway.dicom.profiles import EXPLICIT, IMPLICIT, Groups, Profile
from gateway.dicom.transliteration import romanised
from gateway.model.ids import OrderId
from gateway.model.order import Value

Keys = Callable[..., Dataset]
Ask = Callable[[Dataset], Asked]
PLAIN = Profile()
ASCII_ONLY = replace(PLAIN, charsets=(("ISO 2022 IR 6",),))


@pytest.fixture
def said(keys: Keys, asked: Ask) -> Callable[..., dict[str, Any]]:
    """The values of what a machine of that profile is told, by keyword."""

    def say(profile: Profile, **attributes: Value) -> dict[str, Any]:
        wanted = asked(keys(**dict.fromkeys(attributes)))
        found = _decoded(answer(attributes, wanted, OrderId(1), profile), EXPLICIT)
        return {element.keyword: "" if element.value is None else str(element.value) for element in found}

    return say


Say = Callable[..., dict[str, Any]]


def _decoded(found: Answer, syntax: str) -> Dataset:
    return decode(BytesIO(found.encoded(syntax_of(syntax))), syntax == IMPLICIT, True)


def test_keys_are_filled_left_out_and_missed_as_the_machine_wants(said: Say) -> None:
    profile = replace(
        PLAIN,
        omitted=frozenset({"PatientComments"}),
        omitted_when_empty=frozenset({"PregnancyStatus"}),
        filled={"PatientSex": "O"},
    )
    found = said(profile, PatientComments="x", PregnancyStatus="", PatientSex="", PatientID="7", Allergies="")
    assert found == {"PatientSex": "O", "PatientID": "7", "Allergies": ""}


def test_an_entry_without_what_the_machine_needs_is_kept_back(said: Say) -> None:
    profile = replace(PLAIN, required=frozenset({"PatientID", "PatientWeight"}))
    with pytest.raises(KeptBack, match=r"^PatientID: the machine needs it, and it is empty$"):
        said(profile, PatientID="")
    with pytest.raises(KeptBack, match=r"^PatientWeight: the machine needs it, and it does not fit DS$"):
        said(profile, PatientWeight="sixty")
    assert said(profile, PatientName="") == {"PatientName": ""}


def test_texts_are_cut_or_the_entry_is_kept_back(said: Say) -> None:
    profile = replace(PLAIN, longest={"AccessionNumber": 4})
    assert said(profile, AccessionNumber="1234") == {"AccessionNumber": "1234"}
    with pytest.raises(KeptBack, match="AccessionNumber: longer than the 4 characters") as kept:
        said(profile, AccessionNumber="12345")
    assert "12345" not in str(kept.value)
    assert said(replace(profile, is_cut=True), AccessionNumber="12345") == {"AccessionNumber": "1234"}


def test_characters_are_replaced_but_those_that_part_a_name_are_not(said: Say) -> None:
    profile = replace(PLAIN, replaced={"\\": " ", "^": " "})
    found = said(profile, PatientComments="a\\b^c", PatientName="Doe^Jane")
    assert found == {"PatientComments": "a b c", "PatientName": "Doe^Jane"}


def test_names_have_the_form_the_machine_shows(said: Say) -> None:
    profile = replace(PLAIN, groups=Groups.ALPHABETIC, is_upper=True, components=2)
    assert said(profile, PatientName="Yamada^Tarou^X=山田^太郎") == {"PatientName": "YAMADA^TAROU"}
    with pytest.raises(KeptBack, match="PatientName: has no alphabetic form"):
        said(profile, PatientName="=山田^太郎")


def test_what_the_machine_cannot_read_is_romanised_or_kept_back(said: Say) -> None:
    with pytest.raises(KeptBack, match="PatientName: cannot be written in a character set"):
        said(ASCII_ONLY, PatientName="Müller^Jörg")
    profile = replace(ASCII_ONLY, is_transliterated=True)
    assert said(profile, PatientName="Müller^Jörg", Allergies="Нет") == {
        "PatientName": "Muller^Jorg",
        "Allergies": "Net",
    }
    with pytest.raises(KeptBack, match="PatientName"):
        said(profile, PatientName="王^小东")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Straße", "Strasse"), ("Łódź", "Lodz"), ("Γιώργος", "Giorgos"), ("Щукин", "Shchukin"), ("Ольга", "Olga"),
     ("Nguyễn", "Nguyen"), ("山田", "山田")],
)  # fmt: skip
def test_latin_letters_stand_for_what_has_some(text: str, expected: str) -> None:
    assert romanised(text) == expected


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(name=TEXTS, comment=TEXTS, weight=TEXTS, syntax=st.sampled_from([EXPLICIT, IMPLICIT]))
def test_whatever_an_order_says_another_reader_reads_it(
    name: str, comment: str, weight: str, syntax: str, keys: Keys, asked: Ask
) -> None:
    item: dict[str, Value] = {"CodeMeaning": comment}
    attributes: dict[str, Value] = {
        "PatientComments": comment, "PatientWeight": weight, "PatientName": name,
        "RequestedProcedureCodeSequence": (item,),
    }  # fmt: skip
    wanted = asked(keys(**dict.fromkeys(attributes), RequestedProcedureDescription=""))
    found = _decoded(answer(attributes, wanted, OrderId(1)), syntax)
    assert {element.keyword for element in found} - {"SpecificCharacterSet"} == {
        *attributes, "RequestedProcedureDescription",
    }  # fmt: skip
    assert str(found["PatientComments"].value or "").rstrip(" ") == comment.rstrip(" ")
    assert len(found.RequestedProcedureCodeSequence) == 1


def test_values_that_no_vr_holds_are_known() -> None:
    assert is_sayable("US", "1\\2")
    assert not is_sayable("US", "70000")
    assert not is_sayable("OB", "x")
    assert not is_sayable("CS", "ü")
    assert not is_sayable("DS", "0.12345678901234567")
    assert is_sayable("OB", "")
