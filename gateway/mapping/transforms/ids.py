"""Transforms of identifiers.

Source: HL7 v2.5.1 2.A.28 (EI), 2.A.14 (CX); FHIR R4 Identifier.
"""

import hashlib
from collections.abc import Callable, Mapping
from uuid import UUID

from gateway.mapping.scope import Data, Datum, Element, Piece, Run, Unfit, text_of
from gateway.mapping.transforms.shape import Apply, Arguments, Parameter, Setting, Transform, each_text
from gateway.model.ids import is_uid, uid_from_uuid

_OID_NAMESPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8").bytes


def uid_of_name(name: str) -> str:
    """The UID that always stands for `name`. Source: RFC 9562 5.5 (version 5), DICOM PS3.5 B.2."""
    digest = hashlib.sha1(_OID_NAMESPACE + name.encode(), usedforsecurity=False).digest()
    return uid_from_uuid(UUID(bytes=digest[:16], version=5))


def _uid(text: str) -> str:
    uid = text.strip().removeprefix("urn:oid:")
    if not is_uid(uid):
        raise Unfit("is no UID")
    return uid


def _oid_from_urn(text: str) -> str:
    return text.strip().removeprefix("urn:oid:")


def _uid_from(arguments: Arguments, setting: Setting) -> Apply:
    """The keyword's value must be made by a field that stands above."""

    def apply(data: Data, run: Run) -> Data:
        value = run.values.get(arguments["keyword"], "")
        return (uid_of_name(value),) if isinstance(value, str) and value else ()

    return apply


def _identifier(places: Mapping[str, tuple[int, int]]) -> Callable[[Arguments, Setting], Apply]:
    """A transform that reads one part of an identifier. `places` are component and subcomponent by part."""

    def make(arguments: Arguments, setting: Setting) -> Apply:
        part = arguments["part"]
        component, subcomponent = places[part]

        def read(datum: Datum) -> str:
            if isinstance(datum, Piece):
                return datum.part(component).part(subcomponent).text.strip()
            return _fhir_part(datum, part) if isinstance(datum, Mapping) else datum.strip()

        return lambda data, run: tuple(text for text in map(read, data) if text)

    return make


def _fhir_part(identifier: Element, part: str) -> str:
    """The part of a FHIR Identifier; its system is the namespace, or the OID when it is one."""
    keys = {"id": "value", "oid": "system", "namespace": "system", "authority": "system"}
    value = identifier.get(keys.get(part, "use"))
    text = value.strip() if isinstance(value, str) else ""
    if part == "oid":
        return text.removeprefix("urn:oid:") if text.startswith("urn:oid:") else ""
    return _type_code(identifier) if part == "type" else text


def _type_code(identifier: Element) -> str:
    kind = identifier.get("type")
    codings = kind.get("coding") if isinstance(kind, Mapping) else None
    codes = (coding.get("code") for coding in codings or () if isinstance(coding, Mapping))
    return next((code for code in codes if isinstance(code, str)), "")


_EI = {"id": (1, 1), "namespace": (2, 1), "oid": (3, 1)}
_CX = {"id": (1, 1), "authority": (4, 1), "oid": (4, 2), "type": (5, 1)}


def _hash(arguments: Arguments, setting: Setting) -> Apply:
    length = int(arguments["n"])
    if not 6 <= length <= 64:
        raise ValueError("n is 6 to 64")

    def digest(data: Data, run: Run) -> Data:
        return tuple(hashlib.sha256(text_of(datum).encode()).hexdigest()[:length].upper() for datum in data)

    return digest


TRANSFORMS = (
    Transform(
        name="ei",
        about="a part of an entity identifier (EI) or a FHIR Identifier",
        make=_identifier(_EI),
        parameters=(Parameter(name="part", default="id", choices=tuple(_EI)),),
    ),
    Transform(
        name="cx",
        about="a part of an identifier with its assigning authority (CX) or of a FHIR Identifier",
        make=_identifier(_CX),
        parameters=(Parameter(name="part", default="id", choices=tuple(_CX)),),
    ),
    Transform(name="uid", about="a UID, with or without urn:oid:", make=lambda a, s: each_text(_uid)),
    Transform(
        name="oid_from_urn", about="without urn:oid: in front", make=lambda a, s: each_text(_oid_from_urn)
    ),
    Transform(
        name="uid_from",
        about="a UID that always follows from another attribute's value",
        make=_uid_from,
        parameters=(Parameter(name="keyword"),),
    ),
    Transform(
        name="hash",
        about="n hexadecimal digits that follow from the text",
        make=_hash,
        parameters=(Parameter(name="n", is_number=True),),
    ),
)
