"""What messages are searched by: the keys under which a number or a person's name is kept and asked for."""

import unicodedata
from dataclasses import dataclass

MAX_KEY = 120  # characters; longer ones would not fit an index
_SEPARATORS = str.maketrans("^,;=\\", "     ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a message is searched by: the first order's numbers, and those of the others. Empty means "none"."""

    accession: str = ""
    patient_id: str = ""
    placer: str = ""
    filler: str = ""
    name_key: str = ""
    numbers: tuple[str, ...] = ()  # of the other orders
    name_keys: tuple[str, ...] = ()  # of the other patients, and other writings of the first one's name


def name_keys(name: str) -> tuple[str, ...]:
    """The keys of a DICOM person name, one for each of its groups: ideographic and phonetic writings count too."""
    keys = (name_key(group) for group in name.split("="))
    return tuple(dict.fromkeys(key for key in keys if key))


def name_key(text: str) -> str:
    """ "mueller jane" of "Mueller^Jane" or "Mueller, Jane": no case, no accents, no punctuation between parts."""
    bare = unicodedata.normalize("NFKD", text.translate(_SEPARATORS))
    folded = "".join(char for char in bare if not unicodedata.combining(char)).casefold()
    return " ".join(folded.split())[:MAX_KEY]
