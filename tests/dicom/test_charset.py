"""Text in and out of DICOM's character sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_charset_files

from gateway.dicom import charset

# Source: DICOM PS3.5 annexes H, I and J.
NAMES = {
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrRuss.dcm": "Люкceмбypг",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_standards_own_examples_are_read(name: str) -> None:
    dataset = dcmread(get_charset_files(name)[0])
    terms = dataset.SpecificCharacterSet
    raw = dataset.PatientName.original_string
    declared = charset.read_terms(("\\".join([terms] if isinstance(terms, str) else terms)).encode())
    assert charset.decode(raw, declared) == NAMES[name]


def test_nobody_complains_about_bytes_that_are_no_text() -> None:
    assert charset.decode(b"M\xfcller", ("ISO_IR 192",)) == "M\ufffdller"
    assert charset.decode(b"M\xfcller", ("NO SUCH SET",)) == "Müller"
    assert charset.decode(b"M\xfcller") == "Müller"


@given(
    st.binary(max_size=60),
    st.lists(st.sampled_from(["", "ISO 2022 IR 87", "ISO 2022 IR 149", "ISO_IR 192", "X"])),
)
def test_any_bytes_are_some_text(value: bytes, terms: list[str]) -> None:
    assert isinstance(charset.decode(value, terms), str)
    assert isinstance(charset.read_terms(value), tuple)


def test_ascii_needs_no_declaration() -> None:
    assert charset.choose(["Doe^Jane", ""], ("ISO_IR 192",)) == ()


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("Müller", (), ("ISO_IR 100",)),
        ("Müller", ("ISO_IR 192",), ("ISO_IR 192",)),
        ("Müller", ("ISO_IR 144",), ("ISO_IR 100",)),
        ("Müller", ("ISO_IR 6",), ("ISO_IR 100",)),
        ("Müller", ("ISO 2022 IR 6",), ("ISO_IR 100",)),
        ("Müller", ("",), ("ISO_IR 100",)),
        ("Люк", ("ISO_IR 144",), ("ISO_IR 144",)),
        ("Люк", ("ISO_IR 100",), ("ISO_IR 192",)),
        ("山田", ("", "ISO 2022 IR 87"), ("", "ISO 2022 IR 87")),
        ("山田", ("ISO_IR 13",), ("ISO_IR 192",)),
        ("山田 Müller", ("", "ISO 2022 IR 87"), ("ISO_IR 192",)),
        ("€", (), ("ISO_IR 192",)),
        ("Müller", ("NONSENSE",), ("ISO_IR 100",)),
    ],
)
def test_the_answers_set_is_the_askers_where_it_can_be(
    text: str, asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert charset.choose(["plain", text], asked) == expected
