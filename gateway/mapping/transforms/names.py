"""Transforms that make DICOM person names: family^given^middle^prefix^suffix.

Source: DICOM PS3.5 6.2.1; HL7 v2.5.1 2.A.88 (XPN), 2.A.87 (XCN), 2.A.10 (CNN); FHIR R4 HumanName. HL7 puts the suffix
before the prefix, DICOM behind it.
"""

import re
from collections.abc import Callable, Mapping

from gateway.mapping.scope import Data, Datum, Element, Piece, text_of
from gateway.mapping.transforms.shape import Transform, each_text, whole

_FORBIDDEN = re.compile(r"[\^=\\\x00-\x1f\x7f]+")
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


def person_name(family: str, given: str = "", middle: str = "", prefix: str = "", suffix: str = "") -> str:
    """The parts as one component group, without what DICOM does not allow in them."""
    parts = (family, given, middle, prefix, suffix)
    return "^".join(" ".join(_FORBIDDEN.sub(" ", part).split()) for part in parts).rstrip("^")


def name_of_text(text: str) -> str:
    """The name that a plain text holds: "Family, Given Middle", a DICOM name, or a family name alone."""
    if "^" in text:
        return person_name(*text.split("=", 1)[0].split("^")[:5])
    family, comma, rest = text.partition(",")
    if not comma:
        return person_name(text)
    given, _, middle = rest.strip().partition(" ")
    return person_name(family, given, middle)


def _family(piece: Piece) -> str:
    """The surname of an FN: as a whole, else its prefix and own part. Source: HL7 v2.5.1 2.A.30."""
    whole_name, prefix, own = piece.texts(3)
    return whole_name or _joined(prefix, own)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part.strip())


def _from_xpn(piece: Piece) -> str:
    _, given, middle, suffix, prefix, degree = piece.texts(6)
    return person_name(_family(piece.part(1)), given, middle, prefix, _joined(suffix, degree))


def _from_xcn(piece: Piece) -> str:
    _, _, given, middle, suffix, prefix, degree = piece.texts(7)
    return person_name(_family(piece.part(2)), given, middle, prefix, _joined(suffix, degree))


def _from_cnn(piece: Piece) -> str:
    """A CNN as a component; its parts are subcomponents, or components when the field is of that type."""
    _, family, given, middle, suffix, prefix, degree = piece.texts(7)
    return person_name(family, given, middle, prefix, _joined(suffix, degree))


def _names(read: Callable[[Piece], str], kind: int | None, form: int | None) -> Callable[[Data], Data]:
    """All repetitions as one name. `kind` and `form` are the components of name type and representation."""

    def combine(data: Data) -> Data:
        groups: dict[str, str] = {}
        ranked = sorted(data, key=lambda datum: _rank(datum, kind))  # stable: the order of the sender stays
        for datum in ranked:
            name = read(datum) if isinstance(datum, Piece) else name_of_text(text_of(datum))
            code = datum.texts(form)[-1] if form and isinstance(datum, Piece) else ""
            if name:
                groups.setdefault(code if code in {"I", "P"} else "A", name)
        return _grouped(groups.get("A", ""), groups.get("I", ""), groups.get("P", ""))

    return combine


def _rank(datum: Datum, kind: int | None) -> int:
    """Legal and unmarked names before aliases and maiden names. Source: HL7 table 0200."""
    code = datum.texts(kind)[-1] if kind and isinstance(datum, Piece) else ""
    return 0 if code in {"", "L", "D"} else 1


def _grouped(alphabetic: str, ideographic: str, phonetic: str) -> Data:
    name = f"{alphabetic}={ideographic}={phonetic}".rstrip("=")
    return (name,) if name else ()


def _fhir_names(data: Data) -> Data:
    groups: dict[str, str] = {}
    for datum in data:
        if isinstance(datum, Mapping):
            name, form = _from_human_name(datum), _representation(datum)
        else:
            name, form = name_of_text(text_of(datum)), "ABC"
        if name:
            groups.setdefault(form, name)
    return _grouped(groups.get("ABC", ""), groups.get("IDE", ""), groups.get("SYL", ""))


def _representation(name: Element) -> str:
    extensions = name.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, Mapping) and extension.get("url") == _REPRESENTATION:
            code = extension.get("valueCode")
            return code if code in {"IDE", "SYL"} else "ABC"
    return "ABC"


def _from_human_name(name: Element) -> str:
    given = _strings(name.get("given"))
    family = " ".join(_strings([name.get("family")]))
    if not family and not given:
        return name_of_text(" ".join(_strings([name.get("text")])))
    prefix, suffix = _strings(name.get("prefix")), _strings(name.get("suffix"))
    return person_name(family, " ".join(given[:1]), " ".join(given[1:]), " ".join(prefix), " ".join(suffix))


def _strings(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _initials(text: str) -> str:
    parts = text.split("=", 1)[0].split("^")
    ordered = [*parts[1:3], *parts[:1]]
    return "".join(word[0].upper() for part in ordered for word in part.split())


TRANSFORMS = (
    Transform(
        name="name_xpn",
        about="a name of type XPN; its ideographic and phonetic repetitions become the name's groups",
        make=lambda a, s: whole(_names(_from_xpn, 7, 8)),
    ),
    Transform(
        name="name_xcn",
        about="a name of type XCN (identifier first)",
        make=lambda a, s: whole(_names(_from_xcn, None, 15)),
    ),
    Transform(
        name="name_cnn", about="a name of type CNN", make=lambda a, s: whole(_names(_from_cnn, None, None))
    ),
    Transform(name="name_fhir", about="a FHIR HumanName", make=lambda a, s: whole(_fhir_names)),
    Transform(
        name="name_text", about='a text such as "Doe, Jane Q"', make=lambda a, s: each_text(name_of_text)
    ),
    Transform(name="initials", about="the initials of a name", make=lambda a, s: each_text(_initials)),
)
