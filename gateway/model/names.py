"""Names of people compared as a person would: blind to case, accents, order and a slip of the pen."""

import re
import unicodedata
from typing import Final

_BETWEEN = re.compile(r"[\W_]+")
_SPELT_OUT: Final = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "å": "aa",
        "ø": "oe",
        "æ": "ae",
        "œ": "oe",
        "ß": "ss",
        "þ": "th",
        "ð": "d",
    }
)
_PLAIN: Final = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "þ": "th", "ð": "d", "ł": "l", "đ": "d"}
)
_LONG_ENOUGH = 5  # letters of a word in which one may be wrong


def is_alike(asked: str, name: str) -> bool:
    """Whether every word asked begins a word of the name, or is but one letter away from a long one.

    Whatever stands between letters parts words: `^`, `=`, blanks, hyphens, `*`. Nothing asked is like every name.
    """
    theirs = [_spellings(word) for word in _words(name)]
    return all(any(_is_near(mine, word) for word in theirs) for mine in map(_spellings, _words(asked)))


def _words(name: str) -> list[str]:
    return [word for word in _BETWEEN.split(unicodedata.normalize("NFC", name).casefold()) if word]


def _spellings(word: str) -> frozenset[str]:
    """The word without accents, and with its umlauts spelt out."""
    return frozenset(_bare(word.translate(table)) for table in (_PLAIN, _SPELT_OUT))


def _bare(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))


def _is_near(asked: frozenset[str], word: frozenset[str]) -> bool:
    return any(its.startswith(mine) or _is_slip(mine, its) for mine in asked for its in word)


def _is_slip(one: str, other: str) -> bool:
    """Whether one letter was put in, left out, exchanged, or changed places with its neighbour."""
    if min(len(one), len(other)) < _LONG_ENOUGH or abs(len(one) - len(other)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    mine, its = one[start:], other[start:]
    return (
        mine[1:] == its[1:]
        or mine[1:] == its
        or mine == its[1:]
        or mine[:2] + its[2:] == its[1::-1] + mine[2:]
    )
