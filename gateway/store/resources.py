"""The resources that we hold, each in the newest version that came; found by id or by identifier."""

from dataclasses import replace
from typing import Any

from sqlalchemy import and_, bindparam, delete, insert, select, update

from gateway.model.resource import Held, is_older
from gateway.store.database import Tx
from gateway.store.fhir_tables import resource_identifiers as identifiers
from gateway.store.fhir_tables import resources
from gateway.store.ready import Ready

PAGE = 50

# Built once: building a statement takes longer than running it.
_MINE = and_(
    resources.c.source == bindparam("of_source"),
    resources.c.type == bindparam("of_type"),
    resources.c.resource_id == bindparam("of_id"),
)
_OWN_NAMES = and_(
    identifiers.c.source == bindparam("of_source"),
    identifiers.c.type == bindparam("of_type"),
    identifiers.c.resource_id == bindparam("of_id"),
)
_ONE = Ready(select(resources).where(_MINE))
_WRITE = Ready(update(resources).where(_MINE))
_NAMES = Ready(
    select(identifiers.c.system, identifiers.c.value).where(_OWN_NAMES).order_by(identifiers.c.position)
)
_FORGET_NAMES = Ready(delete(identifiers).where(_OWN_NAMES))
_ADD = Ready(insert(resources))
_ADD_NAMES = Ready(insert(identifiers))


def save(tx: Tx, held: Held) -> bool:
    """Whether the resource is held now; False when what is stored is newer, and stays.

    What was deleted keeps the version that it had, and comes back only in a newer one, where versions can be told.
    """
    tx.lock(f"resource {held.source} {held.address}")
    known = of(tx, held.source, held.type, held.id)
    if known is not None and held.is_deleted:
        held = replace(held, version=known.version, last_updated=known.last_updated)
    elif known is not None and (is_older(held, known) or _is_gone(held, known)):
        return False
    values = {
        "version": held.version,
        "last_updated": held.last_updated,
        "body": held.body,
        "at": held.at,
        "is_deleted": int(held.is_deleted),
    }
    if known is None:
        key = {"source": held.source, "type": held.type, "resource_id": held.id}
        _ADD.run(tx, {**key, **values})
    else:
        _WRITE.run(tx, {**_key(held.source, held.type, held.id), **values})
    if known is None or known.identifiers != held.identifiers:
        _name(tx, held, is_new=known is None)
    return True


def _is_gone(held: Held, known: Held) -> bool:
    """Whether `held` is the very version that was deleted."""
    if not known.is_deleted:
        return False
    if known.version and held.version:
        return known.version == held.version
    return known.last_updated is not None and known.last_updated == held.last_updated


def of(tx: Tx, source: str, kind: str, resource_id: str) -> Held | None:
    """The resource with that id, deleted ones included; None when we hold none."""
    row = _ONE.row(tx, _key(source, kind, resource_id))
    return _read(tx, row) if row is not None else None


def find(
    tx: Tx, source: str, kind: str, *, identifier: tuple[str | None, str] | None = None, limit: int = PAGE
) -> tuple[Held, ...]:
    """The resources of the type that are not deleted, the newest to come first.

    `identifier` is (system, value): system None for any, "" for identifiers that have none.
    Source: FHIR R4 search.html, token.
    """
    query = select(resources).where(
        resources.c.source == source, resources.c.type == kind, resources.c.is_deleted == 0
    )
    if identifier is not None:
        system, value = identifier
        named = select(identifiers.c.resource_id).where(
            identifiers.c.source == source, identifiers.c.type == kind, identifiers.c.value == value
        )
        if system is not None:
            named = named.where(identifiers.c.system == system)
        query = query.where(resources.c.resource_id.in_(named))
    query = query.order_by(resources.c.at.desc(), resources.c.resource_id).limit(limit)
    return tuple(_read(tx, row) for row in tx.connection.execute(query).all())


def _name(tx: Tx, held: Held, *, is_new: bool) -> None:
    if not is_new:
        _FORGET_NAMES.run(tx, _key(held.source, held.type, held.id))
    rows = [
        {
            "source": held.source,
            "type": held.type,
            "resource_id": held.id,
            "system": system,
            "value": value,
            "position": position,
        }
        for position, (system, value) in enumerate(dict.fromkeys(held.identifiers))
    ]
    if rows:
        _ADD_NAMES.run_all(tx, rows)


def _key(source: str, kind: str, resource_id: str) -> dict[str, str]:
    return {"of_source": source, "of_type": kind, "of_id": resource_id}


def _read(tx: Tx, row: Any) -> Held:
    names = _NAMES.rows(tx, _key(row.source, row.type, row.resource_id))
    return Held(
        source=row.source,
        type=row.type,
        id=row.resource_id,
        version=row.version,
        last_updated=row.last_updated,
        body=row.body,
        at=row.at,
        is_deleted=bool(row.is_deleted),
        identifiers=tuple((one.system, one.value) for one in names),
    )
