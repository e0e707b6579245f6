"""Each transform on its own."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.paths import compile_hl7
from gateway.mapping.scope import Data, Focus, Group, Run, Unfit
from gateway.mapping.tables import make_table
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.dates import Stamp, read_stamp
from gateway.mapping.transforms.shape import Setting
from gateway.model.ids import is_uid
from gateway.model.order import Severity

SETTING = Setting(
    zone=ZoneInfo("America/Chicago"),
    site={"facility": "HOSP", "unset": ""},
    tables={"t": make_table("t", {"a": "1"})},
    compile_path=lambda text: compile_hl7(text, {}),
)
NOWHERE = Run(scope=Focus(order={}, variables={}), values={"AccessionNumber": "A1"})


def done(name: str, /, *data: Any, **arguments: Any) -> Data:
    run = arguments.pop("run", NOWHERE)
    transform = TRANSFORMS[name]
    defaults = {p.name: p.default for p in transform.parameters if p.default is not None}
    return transform.make({**defaults, **{key.rstrip("_"): v for key, v in arguments.items()}}, SETTING)(
        data, run
    )


@pytest.mark.parametrize(
    ("name", "arguments", "before", "after"),
    [
        ("strip", {}, " a ", "a"),
        ("upper", {}, "us", "US"),
        ("lower", {}, "US", "us"),
        ("title", {}, "doe jane", "Doe Jane"),
        ("digits", {}, "A-12/3", "123"),
        ("truncate", {"n": "3"}, "abcdef", "abc"),
        ("pad", {"n": "5"}, "42", "00042"),
        ("pad", {"n": "4", "char": "x"}, "42", "xx42"),
        ("replace", {"from": "\\", "to": "/"}, "a\\b", "a/b"),
        ("regex", {"match": r"A(\d+)", "group": "1"}, "xA12", "12"),
        ("split", {"sep": "-", "n": "2"}, "a-b", "b"),
        ("join", {"sep": "+"}, "a", "a"),
        ("prefix", {"text": "P"}, "1", "P1"),
        ("suffix", {"text": "S"}, "1", "1S"),
        ("drop_prefix", {"text": "urn:"}, "urn:x", "x"),
        ("drop_suffix", {"text": ".0"}, "1.0", "1"),
        ("newline_to", {}, "a\r\n b\n", "a b"),
        ("ascii_fold", {}, "Müller-Ørsted ß", "Muller-Orsted ss"),
        ("strip_leading_zeros", {}, "000", "0"),
        ("strip_leading_zeros", {}, "0042", "42"),
        ("constant", {"text": "US"}, "x", "US"),
        ("lookup_site", {"name": "facility"}, "x", "HOSP"),
        ("table", {"name": "t"}, "a", "1"),
        ("initials", {}, "Doe^Jane Q", "JQD"),
        ("name_text", {}, "Doe, Jane Q", "Doe^Jane^Q"),
        ("name_text", {}, "Jane=Doe", "Jane Doe"),
        ("uid", {}, "urn:oid:1.2.3", "1.2.3"),
        ("oid_from_urn", {}, "urn:oid:1.2.3", "1.2.3"),
        ("add_minutes", {"n": "90"}, "2026-03-15T23:15:00-05:00", "2026-03-16T00:45:00-05:00"),
        ("add_minutes", {"n": "90"}, "2026-03-15", "2026-03-15"),
    ],
)  # fmt: skip
def test_a_text_becomes_another(name: str, arguments: dict[str, str], before: str, after: str) -> None:
    assert done(name, before, **arguments) == (after,)


@pytest.mark.parametrize(
    ("name", "arguments", "before"),
    [("digits", {}, "abc"), ("regex", {"match": "^.{1,3}$"}, "abcd"), ("split", {"sep": "-", "n": "2"}, "a"),
     ("table", {"name": "t"}, "zz"), ("lookup_site", {"name": "unset"}, "x"), ("null_to_empty", {}, '""'),
     ("truncate", {"n": "0"}, "a")],
)  # fmt: skip
def test_a_text_becomes_nothing(name: str, arguments: dict[str, str], before: str) -> None:
    assert done(name, before, **arguments) == ()


def test_values_are_picked() -> None:
    assert done("first", "a", "b") == ("a",)
    assert done("last", "a", "b") == ("b",)
    assert done("nth", "a", "b", n="2") == ("b",)
    assert done("nth", "a", n="2") == ()
    assert done("unique", "a", "b", "a") == ("a", "b")
    assert done("longest", "a", "bb") == ("bb",)
    assert done("longest") == ()
    assert done("filter", "a1", "b", match="[0-9]") == ("a1",)
    assert done("join", "a", "b", sep=" ") == ("a b",)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("regex", {"match": "("}), ("regex", {"match": "a", "group": "1"}), ("filter", {"match": "["}),
     ("table", {"name": "none"}), ("lookup_site", {"name": "none"}), ("template", {"text": "no path"}),
     ("template", {"text": "{PID-}"}), ("datetime", {"tz": "Mars/Olympus"}), ("pad", {"n": "3", "char": "ab"}),
     ("hash", {"n": "2"}), ("nth", {"n": "0"}), ("split", {"sep": ""}), ("replace", {"from": ""})],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused_at_load(name: str, arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        done(name, "x", **arguments)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("20260315101500", "2026-03-15T10:15:00-05:00"),
        ("202603151015", "2026-03-15T10:15:00-05:00"),
        ("2026031510", "2026-03-15T10:00:00-05:00"),
        ("20260115101500.123", "2026-01-15T10:15:00-06:00"),
        ("20260315101500+0100", "2026-03-15T10:15:00+01:00"),
        ("20260315", "2026-03-15"),
        ("2026-03-15", "2026-03-15"),
        ("2026-03-15T10:15:00Z", "2026-03-15T10:15:00+00:00"),
        ("2026-03-15T10:15", "2026-03-15T10:15:00-05:00"),
        ("2026-03-15T10:15:00.000-0300", "2026-03-15T10:15:00-03:00"),
        ("2026-03-15T24:00:00Z", "2026-03-16T00:00:00+00:00"),
    ],
)
def test_hl7_and_fhir_instants_become_iso_with_the_zone(text: str, instant: str) -> None:
    assert done("datetime", text) == (instant,)


def test_a_module_may_name_another_zone() -> None:
    assert done("datetime", "202607011015", tz="Europe/Paris") == ("2026-07-01T10:15:00+02:00",)


@pytest.mark.parametrize(
    "text",
    [
        "15/03/2026",
        "20261301",
        "20260230",
        "202603152515",
        "2026-03-15T24:01",
        "today",
        "٢٠٢٦",
        "0000",
        "2026031510156",
    ],
)
def test_what_is_no_date_is_unfit(text: str) -> None:
    with pytest.raises(Unfit) as caught:
        done("datetime", text)
    assert text not in str(caught.value)
    assert caught.value.severity is None


def test_a_date_without_its_day_holds_or_is_dropped() -> None:
    assert done("date", "19800214") == done("date", "1980-02-14T00:00:00Z") == ("19800214",)
    with pytest.raises(Unfit) as caught:
        done("date", "198002")
    assert caught.value.severity is None
    with pytest.raises(Unfit) as caught:
        done("date", "1980-02", partial="drop")
    assert caught.value.severity is Severity.WARN


def test_times_are_dicom_times() -> None:
    assert done("time", "10:15") == ("101500",)
    assert done("time", "202603151015") == ("101500",)
    assert done("time", "20260315") == ()
    with pytest.raises(Unfit):
        done("time", "2515")


@given(st.text(alphabet="0123456789-+:TZ. /", max_size=26))
def test_any_text_is_a_stamp_or_unfit(text: str) -> None:
    with suppress(Unfit):
        assert isinstance(read_stamp(text), Stamp)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("DOE^JANE^Q^JR^DR^MD", "DOE^JANE^Q^DR^JR MD"),
        ("DOE&VAN&DOE^JANE", "DOE^JANE"),
        ("&VAN&DOE^JANE", "VAN DOE^JANE"),
        ("SMITH^J^^^^^M~DOE^JANE^^^^^L", "DOE^JANE"),
        (
            "YAMADA^TARO^^^^^L^A~山田^太郎^^^^^L^I~ヤマダ^タロウ^^^^^L^P",
            "YAMADA^TARO=山田^太郎=ヤマダ^タロウ",
        ),
        ("A\\S\\B^C\\E\\D", "A B^C D"),
        ("^JANE", "^JANE"),
    ],
)
def test_xpn_becomes_a_person_name(group_of: Callable[[str], Group], field: str, name: str) -> None:
    scope = group_of(f"PID|1||||{field}\nOBR|1")
    data = tuple(hit.datum for hit in compile_hl7("PID-5[*]", {}).read(scope))
    assert done("name_xpn", *data) == (name,)


def test_xcn_and_cnn_become_person_names(group_of: Callable[[str], Group]) -> None:
    scope = group_of("PV1|1|O||||||7^HOUSE^GREGORY^B^JR^DR^MD\nOBR|1|8^^^|9&HOUSE&GREGORY&&&DR")

    def at(path: str) -> Data:
        return tuple(hit.datum for hit in compile_hl7(path, {}).read(scope))

    assert done("name_xcn", *at("PV1-8")) == ("HOUSE^GREGORY^B^DR^JR MD",)
    assert done("name_xcn", *at("OBR-2")) == ()
    assert done("name_cnn", *at("OBR-3.1")) == ("HOUSE^GREGORY^^DR",)


REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ([{"family": "Doe", "given": ["J", "Q", "R"], "prefix": ["Dr."], "suffix": ["Jr."]}], "Doe^J^Q R^Dr.^Jr."),
        ([{"text": "Doe, Jane"}], "Doe^Jane"),
        ([{"family": "A^B=C\\D"}], "A B C D"),
        ([{"family": "Yamada"}, {"family": "山田", "extension": [{"url": REPRESENTATION, "valueCode": "IDE"}]}],
         "Yamada=山田"),
        (["House, Gregory"], "House^Gregory"),
        ([{"family": 7, "given": "x", "extension": "y"}, {"given": [None, "Z"]}], "^Z"),
    ],
)  # fmt: skip
def test_a_human_name_becomes_a_person_name(names: list[Any], name: str) -> None:
    assert done("name_fhir", *names) == (name,)


def test_a_human_name_without_parts_is_nothing() -> None:
    assert done("name_fhir", {"use": "official"}) == ()


def item(code: str, scheme: str, meaning: str) -> Mapping[str, str]:
    return {"CodeValue": code, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


@pytest.mark.parametrize(
    ("field", "made"),
    [
        ("71020^CHEST 2V^C4", item("71020", "C4", "CHEST 2V")),
        ("X1^Local thing^L", item("X1", "99LOC", "Local thing")),
        ("X1", item("X1", "99LOC", "X1")),
        ("^^^A1^Alternate^LN", item("A1", "LN", "Alternate")),
        ("X1^Long^1.2.840.113883.6.12.99", item("X1", "99LOC", "Long")),
        ("12345678901234567^x^L", {"LongCodeValue": "12345678901234567", "CodingSchemeDesignator": "99LOC",
                                   "CodeMeaning": "x"}),
    ],
)  # fmt: skip
def test_a_coded_field_becomes_an_item(
    group_of: Callable[[str], Group], field: str, made: Mapping[str, str]
) -> None:
    data = tuple(hit.datum for hit in compile_hl7("OBR-4", {}).read(group_of(f"OBR|1|||{field}")))
    assert done("code", *data) == (made,)


def test_a_field_without_a_code_becomes_no_item(group_of: Callable[[str], Group]) -> None:
    data = tuple(hit.datum for hit in compile_hl7("OBR-4", {}).read(group_of("OBR|1|||^only text")))
    assert done("code", *data) == done("code_alt", *data) == ()


def test_a_fhir_concept_becomes_an_item_for_each_coding() -> None:
    concept = {
        "text": "US abdomen",
        "coding": [
            {"system": "http://loinc.org", "code": "24558-9"},
            {"system": "urn:oid:1.2", "code": "X", "display": "Y"},
        ],
    }
    assert done("code", concept) == (item("24558-9", "LN", "US abdomen"), item("X", "99LOC", "Y"))
    assert done("code", concept, truncate="2")[0] == item("24558-9", "LN", "US")
    assert done("coding", concept, system="urn:oid:1.2") == (item("X", "99LOC", "Y"),)
    assert done("code", {"code": "urn:x:y", "display": "z"}) == (
        {"URNCodeValue": "urn:x:y", "CodeMeaning": "z"},
    )
    assert done("code", {"coding": "nonsense"}, {"coding": [None, {"code": 5}]}) == ()


def test_uids_are_checked_and_follow_from_names() -> None:
    with pytest.raises(Unfit):
        done("uid", "1.2.x")
    (uid,) = done("uid_from", keyword="AccessionNumber")
    assert isinstance(uid, str)
    assert is_uid(uid)
    assert done("uid_from", keyword="AccessionNumber") == (uid,)
    assert done("uid_from", keyword="PatientID") == ()
    assert done("hash", "secret", n="8") == done("hash", "secret", n="8") != done("hash", "other", n="8")


def test_a_template_joins_paths(group_of: Callable[[str], Group]) -> None:
    run = Run(scope=group_of("PV1|1|O|WARD^12^B\nOBR|1|P1"), values={})
    assert done("template", "x", run=run, text="{PV1-3.1}/{PV1-3.2} {}") == ("WARD/12 x",)
    assert done("template", "x", run=run, text="{PV1-9}{PV1-10}") == ()


def test_a_text_of_an_element_with_parts_is_unfit() -> None:
    with pytest.raises(Unfit):
        done("upper", {"family": "x"})


def test_every_transform_says_what_it_does() -> None:
    assert all(transform.about and transform.name == name for name, transform in TRANSFORMS.items())


def quantity(value: Any, code: str) -> dict[str, Any]:
    return {"value": value, "code": code}


@pytest.mark.parametrize(
    ("before", "arguments", "after"),
    [
        ("154", {"from": "lb", "to": "kg"}, "69.853"),
        ("72,5", {}, "72.5"),
        ("5.9 ft", {"to": "m", "decimals": "2"}, "1.8"),
        ("180", {"from": "cm", "to": "m"}, "1.8"),
        ("3500", {"from": "g", "to": "kg"}, "3.5"),
        ("70 IN", {"from": "cm", "to": "cm"}, "177.8"),
        (quantity(72.5, "kg"), {"to": "g"}, "72500"),
        (quantity(150, "[lb_av]"), {"to": "kg", "decimals": "0"}, "68"),
        ("-0", {}, "-0"),
        ("100", {}, "100"),
    ],
)
def test_numbers_change_their_unit(before: Any, arguments: dict[str, str], after: str) -> None:
    assert done("number", before, **arguments) == (after,)


@pytest.mark.parametrize(
    ("name", "before", "arguments"),
    [("number", "much", {}), ("number", "72", {"to": "kg"}), ("number", "72 cm", {"to": "kg"}), ("bool", "perhaps", {}),
     ("sex", "X", {}), ("number", quantity(1, "stone"), {"to": "kg"}), ("age_from", "20270101", {"run": "sent"})],
)  # fmt: skip
def test_what_cannot_be_told_is_unfit(
    group_of: Callable[[str], Group], name: str, before: Any, arguments: dict[str, Any]
) -> None:
    run = Run(scope=group_of("OBR|1"), values={})
    with pytest.raises(Unfit) as caught:
        done(name, before, **{**arguments, "run": run})
    assert str(before) not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"to": "stone"}, {"from": "cm", "to": "kg"}, {"decimals": "9"}])
def test_units_that_make_no_sense_are_refused_at_load(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        done("number", "1", **arguments)


@pytest.mark.parametrize(
    ("born", "age"), [("19800214", "046Y"), ("20251114", "012M"), ("20260820", "086D"), ("20241115", "023M")]
)
def test_an_age_is_that_of_the_message_s_day(group_of: Callable[[str], Group], born: str, age: str) -> None:
    assert done("age_from", born, run=Run(scope=group_of("OBR|1"), values={})) == (age,)


def test_now_is_when_the_message_was_sent(group_of: Callable[[str], Group]) -> None:
    assert done("now", "x", run=Run(scope=group_of("OBR|1"), values={})) == ("2026-11-14T09:30:15-06:00",)
    focus = Focus(
        order={"authoredOn": "2026-03-01", "meta": {"lastUpdated": "2026-03-02T10:00:00Z"}}, variables={}
    )
    assert done("now", "x", run=Run(scope=focus, values={})) == ("2026-03-02T10:00:00+00:00",)
    with pytest.raises(Unfit):
        done("now", "x")
    with pytest.raises(Unfit):
        done("age_from", "19800214")


@pytest.mark.parametrize(
    ("name", "field", "made"),
    [
        ("phone", "(555)123-4567", ("(555)123-4567",)),
        ("phone", "^PRN^PH^^1^555^1234567^12", ("+1 555 1234567 x12",)),
        ("phone", "^NET^Internet^a@b.example", ()),
        ("phone", "^^^^^^^^^^^+15551234567", ("+15551234567",)),
        ("address", "1 High St&High St&1^^Town^IL^62701", ("1 High St, 62701 Town, IL",)),
        ("address", "^^^", ()),
        ("ei", "P1^EPIC^1.2.3^ISO", ("P1",)),
        ("cx", "7^^^HOSP&1.2&ISO^MR", ("7",)),
        ("modality_from_code", "76700^x^C4", ("US",)),
        ("modality_from_code", "71250^CT CHEST^C4", ("CT",)),
        ("modality_from_code", "113091000^x^SCT", ("MR",)),
        ("modality_from_code", "MR^x^DCM", ("MR",)),
        ("modality_from_code", "X1^Something^L", ()),
        ("unescape_text", "A\\E\\T\\E\\B", ("A&B",)),
    ],
)
def test_fields_of_many_parts_become_a_text(
    group_of: Callable[[str], Group], name: str, field: str, made: tuple[str, ...]
) -> None:
    data = tuple(hit.datum for hit in compile_hl7("OBR-4", {}).read(group_of(f"OBR|1|||{field}")))
    assert done(name, *data) == made


@pytest.mark.parametrize(
    ("name", "element", "arguments", "made"),
    [
        ("phone", {"system": "email", "value": "a@b.example"}, {}, ()),
        ("phone", {"system": "phone", "value": "555"}, {}, ("555",)),
        (
            "address",
            {"line": ["1 High St"], "city": "Town", "postalCode": "62701"},
            {},
            ("1 High St, 62701 Town",),
        ),
        ("address", {"text": "somewhere"}, {}, ("somewhere",)),
        ("cx", {"value": "7", "type": {"coding": [{"code": "MR"}]}}, {"part": "type"}, ("MR",)),
        ("cx", {"value": "7", "system": "urn:oid:1.2"}, {"part": "oid"}, ("1.2",)),
        ("ei", {"value": "7", "system": "https://x"}, {"part": "namespace"}, ("https://x",)),
        ("ei", {"value": 7}, {}, ()),
        (
            "modality_from_code",
            {"coding": [{"code": "1"}, {"code": "2", "display": "US-Abdomen"}]},
            {},
            ("US",),
        ),
    ],
)
def test_elements_become_a_text(
    name: str, element: dict[str, Any], arguments: dict[str, str], made: tuple[str, ...]
) -> None:
    assert done(name, element, **arguments) == made


@pytest.mark.parametrize(("text", "answer"), [("Y", "YES"), (" no ", "NO"), ("1", "YES"), ("false", "NO")])
def test_answers_are_yes_or_no(text: str, answer: str) -> None:
    assert done("bool", text) == (answer,)
    assert done("sex", "U") == done("bool", "") == ()
