"""Text in which escape sequences switch between character sets.

Source: ISO/IEC 2022; the sequences are those of HL7 table 0211 and DICOM PS3.3 C.12.1.1.2. A line end always goes back
to the default set.
"""

import re

_KANA = re.compile(rb"[\xa1-\xdf]+")
_LINE_END = re.compile(rb"[\r\n]+")
_TO_ASCII = b"\x1b(B"
_TO_ROMAN = b"\x1b(J"
_TO_KANA = b"\x1b(I"

_DESIGNATION = re.compile(rb"(\x1b\$?[()\-][0-~]|[\r\n]+)")
_CODECS = {
    b"\x1b-A": "iso8859-1",
    b"\x1b-B": "iso8859-2",
    b"\x1b-C": "iso8859-3",
    b"\x1b-D": "iso8859-4",
    b"\x1b-L": "iso8859-5",
    b"\x1b-G": "iso8859-6",
    b"\x1b-F": "iso8859-7",
    b"\x1b-H": "iso8859-8",
    b"\x1b-M": "iso8859-9",
    b"\x1b-b": "iso8859-15",
    b"\x1b$)C": "cp949",
    b"\x1b$)A": "gb18030",
}


def read_japanese(raw: bytes) -> str:
    """Japanese text of JIS X 0201, 0208 and 0212. Half-width kana may stand as single bytes A1-DF too.

    JIS Roman is read as ASCII: senders return to it before a delimiter, and its yen sign stands for the backslash.
    Raises UnicodeDecodeError.
    """
    plain = raw.replace(_TO_ROMAN, _TO_ASCII)
    lines = _LINE_END.sub(lambda found: found.group() + _TO_ASCII, plain)
    return _KANA.sub(_seven_bit_kana, lines).decode("iso2022_jp_ext")


def read_switched(raw: bytes, default: str) -> str:
    """Text that begins in `default` and switches its upper half to Latin, Cyrillic, Greek, Korean or Chinese sets.

    Raises UnicodeDecodeError, also for an escape sequence of another kind.
    """
    codec = default
    done: list[str] = []
    for part in _DESIGNATION.split(raw):
        if part in _CODECS:
            codec = _CODECS[part]
        elif part == _TO_ASCII:
            codec = default
        elif part.startswith(b"\x1b"):
            raise UnicodeDecodeError("iso2022", part, 0, len(part), "unknown escape sequence")
        else:
            codec = default if part[:1] in {b"\r", b"\n"} else codec
            done.append(part.decode(codec))
    return "".join(done)


def _seven_bit_kana(found: re.Match[bytes]) -> bytes:
    return _TO_KANA + bytes(byte - 0x80 for byte in found.group()) + _TO_ASCII
