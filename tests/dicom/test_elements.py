"""Elements read from their encoding: what is wanted comes back, and a missing end is always seen."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pynetdicom.dsutils import encode

from gateway.dicom.elements import ALL, IMPLICIT, Element, Syntax, read_elements, syntax_of
from gateway.model.errors import Malformed

EXPLICIT = Syntax(is_explicit=True)
SYNTAXES = {
    "implicit": IMPLICIT,
    "explicit": EXPLICIT,
    "big endian": Syntax(is_explicit=True, is_big_endian=True),
    "deflated": Syntax(is_explicit=True, is_deflated=True),
}
PATIENT_ID = 0x00100020
STEPS = 0x00400100


def _bytes(dataset: Dataset, syntax: Syntax) -> bytes:
    encoded = encode(dataset, not syntax.is_explicit, not syntax.is_big_endian, syntax.is_deflated)
    assert encoded is not None
    return encoded


def _read(data: bytes, syntax: Syntax, wanted: Any = ALL) -> tuple[Element, ...]:
    return read_elements(BytesIO(data), len(data), syntax, wanted)


def _dataset(*, is_undefined: bool) -> Dataset:
    inner = Dataset()
    inner.CodeValue = "1"
    item = Dataset()
    item.Modality = "US"
    item.ScheduledProtocolCodeSequence = [inner]
    dataset = Dataset()
    dataset.PatientID = "MRN1"
    dataset.ScheduledProcedureStepSequence = [item, Dataset()]
    dataset.add_new(0x00091001, "OB", b"\x01\x02")
    dataset.RequestedProcedureID = "RP1"
    for element in (dataset["ScheduledProcedureStepSequence"], item["ScheduledProtocolCodeSequence"]):
        element.is_undefined_length = is_undefined
        for part in element.value:
            part.is_undefined_length_sequence_item = is_undefined
    return dataset


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
def test_a_data_set_is_read_as_a_tree(name: str, is_undefined: bool) -> None:
    found = _read(_bytes(_dataset(is_undefined=is_undefined), SYNTAXES[name]), SYNTAXES[name])
    assert [element.tag for element in found] == [0x00091001, PATIENT_ID, STEPS, 0x00401001]
    assert found[1].value == b"MRN1"
    first, second = found[2].items
    assert second == ()
    assert [(element.tag, element.value) for element in first] == [(0x00080060, b"US"), (0x00400008, b"")]
    ((code,),) = first[1].items
    assert (code.tag, code.value) == (0x00080100, b"1 ")


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
def test_only_what_is_wanted_is_kept(name: str, is_undefined: bool) -> None:
    data = _bytes(_dataset(is_undefined=is_undefined), SYNTAXES[name])
    assert [element.value for element in _read(data, SYNTAXES[name], {PATIENT_ID})] == [b"MRN1"]


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
def test_an_end_that_is_missing_is_seen_unless_it_falls_between_elements(
    name: str, is_undefined: bool
) -> None:
    syntax = SYNTAXES[name]
    data = _bytes(_dataset(is_undefined=is_undefined), syntax)
    whole = _read(data, syntax)
    for end in range(1, len(data)):
        try:
            part = _read(data[:end], syntax)
        except Malformed:
            continue
        assert not syntax.is_deflated or end == len(data) - 1  # a padding byte
        assert part == whole[: len(part)]


def test_encapsulated_pixels_are_followed_to_their_delimiter() -> None:
    dataset = Dataset()
    dataset.PatientID = "MRN1"
    dataset.add_new(0x7FE00010, "OB", encapsulate([b"\x01\x02\x03\x04", b"\x05\x06"]))
    dataset[0x7FE00010].is_undefined_length = True
    data = _bytes(dataset, EXPLICIT)
    assert len(_read(data, EXPLICIT, {PATIENT_ID})) == 1
    for missing in (1, 4, 8, 9):
        with pytest.raises(Malformed):
            _read(data[:-missing], EXPLICIT, {PATIENT_ID})


def test_padding_of_zeros_is_no_element() -> None:
    dataset = Dataset()
    dataset.PatientID = "MRN1"
    data = _bytes(dataset, EXPLICIT)
    for padding in (1, 2, 8, 100):
        assert len(_read(data + bytes(padding), EXPLICIT)) == 1


def test_an_unknown_sequence_of_undefined_length_is_implicit_inside() -> None:
    item = Dataset()
    item.PatientID = "MRN1"
    inside = _bytes(item, IMPLICIT)
    data = (
        b"\x09\x00\x02\x10UN\x00\x00\xff\xff\xff\xff"
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inside + b"\xfe\xff\x0d\xe0\x00\x00\x00\x00"
        b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    )
    (found,) = _read(data, EXPLICIT)
    ((inner,),) = found.items
    assert inner.value == b"MRN1"


def test_nesting_without_end_is_malformed() -> None:
    level = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(Malformed, match="nested too deep"):
        _read(level * 5000, EXPLICIT)


def test_a_long_value_is_passed_over() -> None:
    dataset = Dataset()
    dataset.add_new(0x00104000, "UT", "x" * 100_000)
    assert _read(_bytes(dataset, EXPLICIT), EXPLICIT, {0x00104000}) == ()


@given(st.binary(max_size=300), st.sampled_from(sorted(SYNTAXES)))
def test_any_bytes_are_elements_or_malformed(data: bytes, name: str) -> None:
    for wanted in (ALL, {PATIENT_ID}):
        with suppress(Malformed):
            _read(data, SYNTAXES[name], wanted)


def test_transfer_syntaxes_know_their_encoding() -> None:
    assert syntax_of("1.2.840.10008.1.2") == IMPLICIT
    assert syntax_of("1.2.840.10008.1.2.1.99").is_deflated
    assert syntax_of("1.2.840.10008.1.2.2").is_big_endian
    assert syntax_of("1.2.840.10008.1.2.4.50") == EXPLICIT
