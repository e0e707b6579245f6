"""From the bytes of a message to text and back: MSH-18 as a Python codec, and what to do when it lies.

Source: HL7 v2.5.1 2.14.9.18 (MSH-18), HL7 table 0211. A message is decoded whole before it is split: characters of
Shift-JIS, GB18030, Big5 and ISO-2022-JP contain delimiter bytes. Text is never replaced in silence.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.hl7 import iso2022
from gateway.model.errors import Invalid, Malformed

FIELD = "MSH-18 (character set)"

_JAPANESE = (
    "iso2022_jp_ext"  # ASCII, JIS X 0201, 0208 and 0212: what every Japanese value of table 0211 asks for
)
_CODECS = {
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISOIR6": "ascii",
    **{f"8859{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
    **{f"LATIN{n}": f"iso8859-{part}" for n, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)},
    **{f"{prefix}{page}": f"cp{page}" for prefix in ("CP", "WINDOWS") for page in range(1250, 1259)},
    # the ISO-IR numbers that DICOM writes; senders that also speak DICOM use them here
    "ISOIR100": "iso8859-1",
    "ISOIR101": "iso8859-2",
    "ISOIR109": "iso8859-3",
    "ISOIR110": "iso8859-4",
    "ISOIR144": "iso8859-5",
    "ISOIR127": "iso8859-6",
    "ISOIR126": "iso8859-7",
    "ISOIR138": "iso8859-8",
    "ISOIR148": "iso8859-9",
    "ISOIR203": "iso8859-15",
    "ISOIR166": "tis-620",
    "TIS620": "tis-620",
    "ISOIR192": "utf-8",
    "UNICODE": "utf-8",
    "UNICODEUTF8": "utf-8",
    "UTF8": "utf-8",
    "GB180302000": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "ISOIR58": "gb18030",
    "KSX1001": "cp949",  # EUC-KR and what Windows adds to it
    "KSC5601": "cp949",
    "EUCKR": "cp949",
    "CP949": "cp949",
    "ISOIR149": "cp949",
    "BIG5": "cp950",  # Big5 and what Windows adds to it
    "CP950": "cp950",
    "ISOIR13": "shift_jis",
    "ISOIR14": "shift_jis",
    "ISOIR87": _JAPANESE,
    "ISOIR159": _JAPANESE,
    "ISO2022JP": _JAPANESE,
    "SHIFTJIS": "cp932",  # Shift-JIS and what Windows adds to it
    "SJIS": "cp932",
    "WINDOWS31J": "cp932",
    "CP932": "cp932",
    "EUCJP": "euc_jp",
}
_JAPANESE_SETS = frozenset({"shift_jis", _JAPANESE})
_DELIMITER_BYTES = ("gb18030", "cp950", "cp932", "cp949", _JAPANESE)  # their characters contain some
_WINDOWS = {  # what text labelled so often is: nearly every letter stands in the same place
    "iso8859-1": "cp1252",
    "iso8859-2": "cp1250",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
    "iso8859-9": "cp1254",
    "iso8859-13": "cp1257",
    "iso8859-15": "cp1252",
}
_C1 = re.compile("[\x80-\x9f]")
_BOM = codecs.BOM_UTF8
_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A message as text. `codec` read it; `warnings` say where that is not what MSH-18 declares."""

    text: str
    codec: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One way to read the bytes. `is_strict_c1`: control characters 80-9F count as "not this set"."""

    codec: str
    read: Callable[[bytes], str]
    is_strict_c1: bool = False


def decode(raw: bytes, *, fallback: str = "cp1252") -> Decoded:
    """The text of the message: as MSH-18 declares, else as UTF-8, else as `fallback`, each strictly.

    A set that was not declared, or that the bytes contradict, gives a warning; so do control characters 80-9F that
    no set explains. Bytes that even `fallback` cannot read become U+FFFD, with a warning that says how many.
    Raises Malformed for sets that cannot be read at all: UTF-16, UTF-32 and CNS 11643-1992.
    """
    has_bom = raw.startswith(_BOM)
    raw = raw.removeprefix(_BOM)
    names = _declared(raw)
    codes = tuple(_codec(name) for name in names)
    warnings = [f"{FIELD}: not in HL7 table 0211" for code in codes if code is None]
    known = tuple(code for code in codes if code is not None)
    for trial in _trials(known, fallback, has_bom=has_bom):
        text = _attempt(trial, raw)
        if text is not None:
            warnings += _mismatch(known, trial, is_declared=bool(names), is_ascii=raw.isascii())
            if trial.codec.startswith("iso8859") and not raw.isascii() and _attempt(_UTF8, raw) is not None:
                warnings.append(f"{FIELD}: the bytes are UTF-8 too, and hardly by chance; read as declared")
            return _decoded(text, trial.codec, warnings)
    text = raw.decode(fallback, errors="replace")
    count = text.count("\ufffd")
    warnings.append(f"{FIELD}: characters without a meaning in {fallback} were replaced, {count} in all")
    return _decoded(text, fallback, warnings)


def encode(text: str, codec: str) -> bytes:
    """`text` in the codec of the message it answers; characters that the codec lacks become "?"."""
    return text.encode(codec, errors="replace")


def hex_reader(codec: str) -> Callable[[bytes], str]:
    """What the bytes of a \\\\Xhh..\\\\ escape mean in a message read by `codec`. Source: HL7 v2.5.1 2.7.5.

    Senders also write UTF-16 code units ("00E0"); bytes that are neither are read as Latin-1.
    """

    def read(raw: bytes) -> str:
        trials = [codec, "utf-16-be"] if raw[:1] == b"\0" and len(raw) % 2 == 0 else [codec]
        for name in reversed(trials):
            try:
                return raw.decode(name)
            except UnicodeDecodeError:
                continue
        return raw.decode("latin-1")

    return read


def codec_of(name: str) -> str:
    """The Python codec that `name` in MSH-18 stands for. Raises Invalid when nobody knows one."""
    try:
        codec = _codec(name)
    except Malformed as error:
        raise Invalid(str(error)) from None
    if codec is None:
        raise Invalid(f"{FIELD}: not in HL7 table 0211")
    return codec


def check_codec(name: str) -> str:
    """`name`, when Python knows it as a text codec. Raises Invalid."""
    try:
        "".encode(name)
    except (LookupError, UnicodeError):
        raise Invalid("charset: Python knows no character set of that name") from None
    return name


def _declared(raw: bytes) -> tuple[str, ...]:
    """The repetitions of MSH-18, read on the bytes with the message's own separators; () when it is empty.

    Names in MSH-3 to MSH-6 may contain separator bytes inside characters. Then the set is the one in which MSH-18
    names that very set.
    Raises Malformed for UTF-16 and UTF-32, whatever MSH-18 says.
    """
    head = raw.lstrip(b"\0 \t\r\n")
    if raw.startswith(_WIDE_BOMS) or head.startswith((b"M\0", b"\xff\xfe", b"\xfe\xff")):
        raise Malformed(f"{FIELD}: UTF-16 and UTF-32 are not taken; send UNICODE UTF-8")
    if not head.startswith(b"MSH") or len(head) < 5:
        return ()
    line = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    names = _msh_18(line.decode("latin-1"))
    if (line.isascii() and b"\x1b" not in line) or any(_codec(name) for name in names):
        return names
    for codec in _DELIMITER_BYTES:
        text = _attempt(_Trial(codec=codec, read=_reader(codec)), line)
        found = _msh_18(text) if text else ()
        if codec in map(_codec, found):
            return found
    return names


def _msh_18(line: str) -> tuple[str, ...]:
    fields = line.split(line[3:4] or "|", 18)
    if len(fields) < 18:
        return ()
    repetition = fields[1][1:2] or "~"
    names = tuple(name.strip("\0 ") for name in fields[17].split(repetition))
    return names if any(names) else ()


def _codec(name: str) -> str | None:
    """The Python codec for one repetition of MSH-18; None when nobody knows it.

    Raises Malformed for those without a codec.
    """
    key = "".join(char for char in name.upper() if char.isalnum())
    if not key:
        return "ascii"  # an empty first repetition: the default set
    if "UTF16" in key or "UTF32" in key:
        raise Malformed(f"{FIELD}: UTF-16 and UTF-32 are not taken; send UNICODE UTF-8")
    if key.startswith("CNS11643"):
        raise Malformed(f"{FIELD}: CNS 11643-1992 cannot be read; send UNICODE UTF-8 or BIG-5")
    return _CODECS.get(key) or _CODECS.get(key.removeprefix("ISO"))


def _trials(known: tuple[str, ...], fallback: str, *, has_bom: bool) -> list[_Trial]:
    """The ways to read the message, the likeliest first."""
    last = _Trial(codec=fallback, read=_reader(fallback))
    if has_bom:
        return [_UTF8, last]
    if not known:
        return [last, _UTF8] if fallback.startswith("iso2022") else [_UTF8, last]
    switched = [_switched(known)] if len(known) > 1 else []
    plain = [_Trial(codec=codec, read=_reader(codec)) for codec in known]
    strict = [replace(trial, is_strict_c1=trial.codec.startswith("iso8859")) for trial in (*switched, *plain)]
    siblings = [_WINDOWS[codec] for codec in known if codec in _WINDOWS]
    windows = [_Trial(codec=codec, read=_reader(codec)) for codec in siblings]
    return [*strict, _UTF8, *windows, *plain, last]


def _switched(known: tuple[str, ...]) -> _Trial:
    """Several sets in one message, switched by ISO 2022 escapes. Source: HL7 v2.5.1 2.14.9.18, 2.14.9.20.

    Without any escape the message is in one of them: the plain ones are tried next.
    """
    if _JAPANESE_SETS.intersection(known):
        return _Trial(codec=_JAPANESE, read=iso2022.read_japanese)
    return _Trial(codec=known[0], read=lambda raw: iso2022.read_switched(raw, known[0]))


def _reader(codec: str) -> Callable[[bytes], str]:
    return iso2022.read_japanese if codec == _JAPANESE else lambda raw: raw.decode(codec)


_UTF8 = _Trial(codec="utf-8", read=_reader("utf-8"))


def _attempt(trial: _Trial, raw: bytes) -> str | None:
    try:
        text = trial.read(raw)
    except UnicodeDecodeError:
        return None
    return None if trial.is_strict_c1 and _C1.search(text) else text


def _mismatch(known: tuple[str, ...], used: _Trial, *, is_declared: bool, is_ascii: bool) -> list[str]:
    """What to say when the set that was used is not the one declared."""
    if not is_declared:
        return [] if is_ascii else [f"{FIELD}: absent; read as {used.codec}"]
    if is_ascii or used.codec in known:
        return []
    return [f"{FIELD}: the bytes are not in the declared set; read as {used.codec}"]


def _decoded(text: str, codec: str, warnings: list[str]) -> Decoded:
    if "\0" in text:
        text = text.replace("\0", "")
        warnings.append("NUL characters were left out")
    if _C1.search(text):
        warnings.append(
            f"{FIELD}: control characters (80 to 9F) stand in the text: it is likely to be in another set"
        )
    return Decoded(text=text, codec=codec, warnings=tuple(warnings))
