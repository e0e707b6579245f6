"""Transforms of identifiers."""

import hashlib
from uuid import UUID

from gateway.mapping.scope import Data, Run, Unfit, text_of
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


def _hash(arguments: Arguments, setting: Setting) -> Apply:
    length = int(arguments["n"])
    if not 6 <= length <= 64:
        raise ValueError("n is 6 to 64")

    def digest(data: Data, run: Run) -> Data:
        return tuple(hashlib.sha256(text_of(datum).encode()).hexdigest()[:length].upper() for datum in data)

    return digest


TRANSFORMS = (
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
