"""Text in letters that any machine shows: accents dropped, Greek and Cyrillic in Latin letters.

What has no Latin letters (ideographs, kana, hangul) stays as it is, and is for the caller to refuse.
"""

import re
import unicodedata
from typing import Final

_BLANK = re.compile(" ")
_LATIN: Final = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ŋ": "ng",
    "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "№": "No",
}  # fmt: skip
_GREEK: Final = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        _BLANK.split("a v g d e z i th i k l m n x o p r s s t y f ch ps o"),
        strict=True,
    )
)  # ISO 843, type 2
_CYRILLIC: Final = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґў",
        _BLANK.split(
            "a b v g d e e zh z i i k l m n o p r s t u f kh ts ch sh shch ie y _ e iu ia i i ie g u"
        ),
        strict=True,
    )
)  # as passports write it: ICAO 9303-3 6.B
_LETTERS: Final = {**_LATIN, **_GREEK, **_CYRILLIC, "ь": ""}


def romanised(text: str) -> str:
    """The text with Latin letters for all that has some."""
    return "".join(_letter(char) for char in unicodedata.normalize("NFC", text))


def _letter(char: str) -> str:
    if char.isascii():
        return char
    small = char.lower()
    if small in _LETTERS:
        return _LETTERS[small] if char == small else _LETTERS[small].capitalize()
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    if bare == char or not bare:
        return char
    return "".join(_letter(part) for part in bare)
