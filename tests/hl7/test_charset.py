from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hl7.charset import check_codec, decode, encode, hex_reader
from gateway.model.er7 import read_er7
from gateway.model.errors import Invalid, Malformed


def message(declared: str, name: bytes, *, separator: str = "|", line_end: bytes = b"\r") -> bytes:
    head = separator.join(("MSH", "^~\\&", "RIS", "HOSP", "GW", "RAD", "20261123", "", "ORM^O01", "1", "P"))
    more = separator.join(("2.5.1", "", "", "", "", "", declared))
    pid = separator.join(("PID", "1", "", "MRN1", "", "")).encode()
    return f"{head}{separator}{more}".encode() + line_end + pid + name + line_end


def name_of(raw: bytes, fallback: str = "cp1252") -> tuple[str, str, int]:
    """PID-5 as it was understood, the codec, and how many warnings there were."""
    decoded = decode(raw, fallback=fallback)
    name = next(read_er7(decoded.text).named("PID")).value(5)
    return name, decoded.codec, len(decoded.warnings)


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        ("ASCII", "ascii", "Doe"),
        ("8859/1", "iso8859-1", "Müller"),
        ("8859/2", "iso8859-2", "Łukasz"),
        ("8859/3", "iso8859-3", "Ĉapelo"),
        ("8859/4", "iso8859-4", "Ķēniņš"),
        ("8859/5", "iso8859-5", "Люкceмбypг"),
        ("8859/6", "iso8859-6", "قباني"),
        ("8859/7", "iso8859-7", "Διονυσιος"),
        ("8859/8", "iso8859-8", "שרון"),
        ("8859/9", "iso8859-9", "Çavuşoğlu"),
        ("8859/15", "iso8859-15", "Œuvré€"),
        ("UNICODE UTF-8", "utf-8", "山田"),
        ("UNICODE", "utf-8", "Łukasz"),
        ("GB 18030-2000", "gb18030", "王小东"),
        ("KS X 1001", "euc_kr", "김희중"),
        ("BIG-5", "big5", "許功蓋"),  # its second bytes are a backslash
        ("ISO IR14", "shift_jis", "ﾔﾏﾀﾞ"),
        ("ISO IR87", "iso2022_jp", "山田"),
        ("ISO IR159", "iso2022_jp_1", "丂山"),
        ("~ISO IR87", "iso2022_jp", "山田"),
        ("ASCII~ISO IR87~ISO IR159", "iso2022_jp_1", "山田丂"),
        ("Shift_JIS", "cp932", "ソ表"),  # its second bytes are a backslash
    ],
)
def test_each_declared_set_is_read(declared: str, encoding: str, name: str) -> None:
    read, _, warnings = name_of(message(declared, name.encode(encoding)))
    assert (read, warnings) == (name, 0)


@pytest.mark.parametrize(
    "declared",
    ["UTF-8", "UTF8", "utf-8", "UNICODE_UTF-8", "unicode utf8", "ISO_IR 192"],
)
def test_sloppy_spellings_of_utf_8_are_understood(declared: str) -> None:
    assert name_of(message(declared, "Gödel".encode()))[::2] == ("Gödel", 0)


@pytest.mark.parametrize(
    "declared",
    [
        "8859/1",
        "ISO-8859-1",
        "ISO8859-1",
        "8859-1",
        "iso 8859/1",
        "latin1",
        "ISO_IR 100",
        "WINDOWS-1252",
        "cp1252",
    ],
)
def test_sloppy_spellings_of_latin_1_are_understood(declared: str) -> None:
    assert name_of(message(declared, "Gödel".encode("latin-1")))[::2] == ("Gödel", 0)


def test_gb18030_delimiter_bytes_inside_characters_do_not_split() -> None:
    name = b"\x81\x7c\x81\x5e\x81\x7e".decode("gb18030")
    assert name_of(message("GB18030", name.encode("gb18030")))[0] == name


@pytest.mark.parametrize(
    ("declared", "encoding", "facility"),
    [("GB18030", "gb18030", "亅亅"), ("BIG-5", "big5", "育育"), ("~ISO IR87", "iso2022_jp", "厚厚")],
)
def test_separator_bytes_inside_msh_do_not_hide_the_set(declared: str, encoding: str, facility: str) -> None:
    assert b"|" in facility.encode(encoding)
    raw = message(declared, "山".encode(encoding)).replace(b"HOSP", facility.encode(encoding))
    assert name_of(raw)[::2] == ("山", 0)


def test_half_width_kana_beside_kanji_is_read() -> None:
    raw = "ﾔﾏﾀﾞ".encode("shift_jis") + b" " + "山田".encode("iso2022_jp")
    assert name_of(message("ISO IR14~ISO IR87", raw))[::2] == ("ﾔﾏﾀﾞ 山田", 0)


def test_jis_roman_does_not_hide_the_delimiters() -> None:
    raw = b"\x1b$B;3ED\x1b(J~B\\T\\C"
    decoded = decode(message("~ISO IR87", raw))
    pid = next(read_er7(decoded.text).named("PID"))
    assert (pid.value(5), pid.value(5, repetition=2)) == ("山田", "B&C")


def test_a_line_end_returns_to_the_default_set() -> None:
    raw = message("~ISO IR87", b"\x1b$B;3ED") + b"OBR|1\r"
    assert [segment.name for segment in read_er7(decode(raw).text).segments] == ["MSH", "PID", "OBR"]


def test_korean_and_cyrillic_switch_by_escape() -> None:
    korean = b"Kim=\x1b$)C" + "김희중".encode("euc_kr")
    cyrillic = b"M\xfcller \x1b-L" + "Люк".encode("iso8859-5")
    assert name_of(message("ASCII~KS X 1001", korean))[::2] == ("Kim=김희중", 0)
    assert name_of(message("8859/1~8859/5", cyrillic))[::2] == ("Müller Люк", 0)


def test_several_sets_without_any_escape_are_tried_in_turn() -> None:
    assert name_of(message("ASCII~8859/1", b"M\xfcller"))[::2] == ("Müller", 0)


@pytest.mark.parametrize(
    ("declared", "raw", "expected"),
    [
        ("8859/1", "Müller“".encode("cp1252"), ("Müller“", "cp1252", 1)),  # mislabelled Windows
        ("8859/9", "Şahin€".encode("cp1254"), ("Şahin€", "cp1254", 1)),
        ("8859/15", "O’BRIEN ŠPELA".encode("cp1252"), ("O’BRIEN ŠPELA", "cp1252", 1)),
        ("8859/2", "ŠIMŮŠ ŽANETA".encode("cp1250"), ("ŠIMŮŠ ŽANETA", "cp1250", 1)),
        ("8859/7", "“Διονυσιος”".encode("cp1253"), ("“Διονυσιος”", "cp1253", 1)),
        ("8859/8", "“שרון”".encode("cp1255"), ("“שרון”", "cp1255", 1)),
        ("8859/13", "„Šarūnas“".encode("cp1257"), ("„Šarūnas“", "cp1257", 1)),
        ("8859/1", "ÉŁ".encode(), ("ÉŁ", "utf-8", 1)),
        ("8859/5", "Люк".encode(), ("Люк", "utf-8", 1)),
        ("ASCII", "Müller".encode(), ("Müller", "utf-8", 1)),
        ("ASCII", b"M\xfcller", ("Müller", "cp1252", 1)),
        ("UNICODE UTF-8", b"M\xfcller", ("Müller", "cp1252", 1)),
        ("", "Müller".encode(), ("Müller", "utf-8", 1)),
        ("", b"M\xfcller", ("Müller", "cp1252", 1)),
        ("", b"Muller", ("Muller", "utf-8", 0)),
        ("KLINGON", b"M\xfcller", ("Müller", "cp1252", 2)),
        ("KLINGON", b"Muller", ("Muller", "utf-8", 1)),
    ],
)
def test_a_wrong_or_absent_declaration_is_forgiven_with_a_warning(
    declared: str, raw: bytes, expected: tuple[str, str, int]
) -> None:
    assert name_of(message(declared, raw)) == expected


@pytest.mark.parametrize(
    ("declared", "raw", "text"),
    [
        ("8859/3", b"M\x81\xfc", "M\x81ü"),  # no set of Windows has these letters
        ("8859/1", b"M\x81\xfc", "M\x81ü"),  # in cp1252 the byte has no meaning
        ("UNICODE UTF-8", "M\x92".encode(), "M\x92"),  # coded twice
        ("", "M\x92".encode(), "M\x92"),
    ],
)
def test_control_characters_among_the_letters_are_told(declared: str, raw: bytes, text: str) -> None:
    decoded = decode(message(declared, raw))
    assert text in decoded.text
    assert decoded.warnings[-1] == (
        "MSH-18 (character set): control characters (80 to 9F) stand in the text: it is likely to be in another set"
    )


@pytest.mark.parametrize(("name", "warnings"), [("André".encode(), 1), ("André".encode("latin-1"), 0)])
def test_utf_8_that_goes_by_another_name_is_told(name: bytes, warnings: int) -> None:
    read, codec, told = name_of(message("8859/1", name))
    assert (read, codec, told) == (name.decode("latin-1"), "iso8859-1", warnings)


def test_the_senders_own_fallback_is_used() -> None:
    assert name_of(message("", "Łukasz".encode("iso8859-2")), fallback="iso8859-2")[0] == "Łukasz"
    assert name_of(message("", "山田".encode("iso2022_jp")), fallback="iso2022_jp_ext")[0] == "山田"


def test_bytes_that_nothing_can_read_are_replaced_aloud() -> None:
    decoded = decode(message("UNICODE UTF-8", b"M\x81\xfc"))
    assert "M\ufffdü" in decoded.text
    assert decoded.warnings == (
        "MSH-18 (character set): characters without a meaning in cp1252 were replaced, 1 in all",
    )


def test_msh_18_is_found_with_the_messages_own_separators() -> None:
    raw = message("8859/2", "Łukasz".encode("iso8859-2"), separator="#", line_end=b"\n")
    assert name_of(raw)[::2] == ("Łukasz", 0)
    own_repetition = message("ASCII!8859/5", b"\x1b-L" + "Люк".encode("iso8859-5")).replace(
        b"^~\\&", b"^!\\&"
    )
    assert name_of(own_repetition)[::2] == ("Люк", 0)


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (message("UNICODE UTF-16", b"Doe"), "UTF-16"),
        (message("UNICODE UTF-32", b"Doe"), "UTF-16 and UTF-32"),
        (message("", b"Doe").decode().encode("utf-16"), "UTF-16"),
        (message("", b"Doe").decode().encode("utf-16-le"), "UTF-16"),
        (message("", b"Doe").decode().encode("utf-16-be"), "UTF-16"),
        (message("", b"Doe").decode().encode("utf-32-be"), "UTF-32"),
        (message("CNS 11643-1992", b"Doe"), "CNS 11643-1992"),
    ],
)
def test_sets_that_cannot_be_read_are_refused(raw: bytes, hint: str) -> None:
    with pytest.raises(Malformed, match=hint):
        decode(raw)


def test_a_byte_order_mark_means_utf_8() -> None:
    assert name_of(b"\xef\xbb\xbf" + message("8859/1", "é".encode()))[:2] == ("é", "utf-8")


def test_nul_characters_are_left_out() -> None:
    decoded = decode(message("", b"D\0oe") + b"\0")
    assert "\0" not in decoded.text
    assert "NUL characters were left out" in decoded.warnings


@pytest.mark.parametrize(
    ("codec", "raw", "text"),
    [
        ("iso8859-1", b"\xe0", "à"),
        ("utf-8", "é".encode(), "é"),
        ("utf-8", b"\xe0", "à"),
        ("utf-8", b"\x00\xe0", "à"),
        ("iso8859-1", b"\x00\xe0", "à"),
        ("iso8859-1", b"\x00\r", "\r"),
        ("gb18030", "王".encode("gb18030"), "王"),
        ("ascii", b"\r\n", "\r\n"),
    ],
)
def test_hexadecimal_escapes_are_in_the_messages_set(codec: str, raw: bytes, text: str) -> None:
    assert hex_reader(codec)(raw) == text


def test_an_answer_is_encoded_in_the_messages_set() -> None:
    assert encode("山", "iso2022_jp_ext") == "山".encode("iso2022_jp")
    assert encode("山", "iso8859-1") == b"?"


def test_an_unknown_codec_is_a_persons_error() -> None:
    assert check_codec("cp1250") == "cp1250"
    for name in ("klingon", "rot13"):
        with pytest.raises(Invalid, match="charset"):
            check_codec(name)


@given(
    raw=st.binary(max_size=200),
    declared=st.sampled_from(["", "ASCII", "~ISO IR87", "BIG-5", "8859/1~8859/5"]),
)
def test_any_bytes_become_text_or_are_malformed(raw: bytes, declared: str) -> None:
    assert decode(message(declared, raw)).text.startswith("MSH|")
    with suppress(Malformed):
        decode(raw)


@given(
    raw=st.binary(min_size=1, max_size=6),
    codec=st.sampled_from(["utf-8", "ascii", "gb18030", "iso2022_jp_ext"]),
)
def test_any_hexadecimal_bytes_become_text(raw: bytes, codec: str) -> None:
    assert isinstance(hex_reader(codec)(raw), str)
