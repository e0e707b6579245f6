"""Text of DICOM data sets, decoded without complaint and encoded in a set that its reader knows.

Undecodable bytes become U+FFFD instead of an error or a warning that quotes them.
Source: DICOM PS3.3 C.12.1.1.2, PS3.5 6.1.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, encode_string, python_encoding

UTF_8: Final = "ISO_IR 192"
LATIN_1: Final = "ISO_IR 100"
ASKED: Final = "asked"  # in a chain of sets: the one of the request
ANY_READER: Final = ((ASKED,), (LATIN_1,), (UTF_8,))

_ESC = b"\x1b"
_KEEP_ESCAPES = frozenset({"iso2022_jp", "iso2022_jp_2"})  # Python's codecs read these themselves
_CODES = sorted(CODES_TO_ENCODINGS.items(), key=lambda pair: -len(pair[0]))
_DELIMITERS = "\\^=\r\n\f\t"  # the set of the first term holds again after them. Source: PS3.5 6.1.2.5.3
_RESETS = frozenset(_DELIMITERS.encode())
_OURS_TO_WRITE = frozenset(
    {
        "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 126", "ISO_IR 127", "ISO_IR 138", "ISO_IR 144",
        "ISO_IR 148", "ISO_IR 166", "ISO_IR 192", "GB18030", "GBK", "",
        "ISO 2022 IR 6", "ISO 2022 IR 100", "ISO 2022 IR 101", "ISO 2022 IR 87", "ISO 2022 IR 149",
    }
)  # fmt: skip


def read_terms(value: bytes) -> tuple[str, ...]:
    """The defined terms of a Specific Character Set (0008,0005), in order; none for the default repertoire."""
    text = value.decode("ascii", "replace").rstrip("\0 ")
    return tuple(term.strip() for term in text.split("\\")) if text else ()


def decode(value: bytes, terms: Sequence[str] = ()) -> str:
    """The text of `value` in the sets that `terms` names. An unknown set is read as Latin-1."""
    first = python_encoding.get(terms[0] if terms else "", "latin_1")
    if _ESC not in value:
        return value.decode(first, "replace")
    if first in _KEEP_ESCAPES:
        first = "iso8859"
    return "".join(_decode_run(run, first) for run in _runs(value))


def choose(
    texts: Iterable[str], asked: Sequence[str], chain: Sequence[Sequence[str]] = ANY_READER
) -> tuple[str, ...]:
    """The Specific Character Set for an answer with `texts` to someone whose request said `asked`.

    None when all is ASCII: every reader has the default repertoire. Else the first of the `chain` that can hold every
    character. It ends with UTF-8 where nothing else is known: what cannot be said in the asker's set is better sent
    whole. Raises ValueError when nothing in the chain can.
    """
    foreign = [text for text in texts if not text.isascii()]
    if not foreign:
        return ()
    for link in chain:
        terms = tuple(asked if tuple(link) == (ASKED,) else link)
        if terms and _OURS_TO_WRITE.issuperset(terms) and all(_fits(text, terms) for text in foreign):
            return terms
    raise ValueError("no character set of the chain holds the text")


def encode(text: str, terms: Sequence[str]) -> bytes:
    """The bytes of a text in a set that `choose` chose for it."""
    if text.isascii() or not terms:
        return text.encode("ascii", "replace")
    encodings = [python_encoding[term] for term in terms]
    if len(terms) == 1:
        return text.encode(encodings[0])
    return b"".join(encode_string(part, encodings) for part in _parts(text))


def _fits(text: str, terms: Sequence[str]) -> bool:
    encodings = [python_encoding[term] for term in terms]
    if len(terms) == 1:
        try:
            text.encode(encodings[0] if terms[0] != "ISO 2022 IR 6" and terms[0] else "ascii")
        except UnicodeEncodeError:
            return False
        return True
    if not all(_has_char(char, encodings) for char in text):
        return False
    encoded = b"".join(encode_string(part, encodings) for part in _parts(text))
    return decode(encoded, terms) == text


def _has_char(char: str, encodings: Sequence[str]) -> bool:
    for encoding in encodings:
        try:
            char.encode("ascii" if encoding == "iso8859" else encoding)
        except UnicodeEncodeError:
            continue
        return True
    return False


def _parts(text: str) -> list[str]:
    """`text` cut behind every delimiter, as it is encoded."""
    parts = [""]
    for char in text:
        parts[-1] += char
        if char in _DELIMITERS:
            parts.append("")
    return parts


def _runs(value: bytes) -> Iterable[bytes]:
    """`value` cut before every escape sequence, and behind a delimiter that ends the reach of one."""
    start = 0
    is_escaped = False
    for at, byte in enumerate(value):
        is_escape = byte == _ESC[0]
        if is_escape or (is_escaped and byte in _RESETS and not _is_two_byte(value[start:at])):
            yield value[start:at]
            start, is_escaped = at, is_escape
    yield value[start:]


def _is_two_byte(run: bytes) -> bool:
    """Whether a run is in the middle of G0 two-byte text, where a byte that looks like a delimiter is none."""
    return run.startswith((b"\x1b$B", b"\x1b$(D"))


def _decode_run(run: bytes, first: str) -> str:
    for code, encoding in _CODES:
        if run.startswith(code):
            body = run if encoding in _KEEP_ESCAPES else run[len(code) :]
            return body.decode(encoding, "replace")
    return run.decode(first, "replace")
