"""Receipts of worklist queries, and which order which station has seen.

A question asked again with the same answer adds no row: a machine that polls costs one update. Sightings point at
receipts, so that the time an order was last seen moves with them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, insert, select, update

from gateway.model.ids import OrderId
from gateway.model.receipt import Asker, Asking, Cause, Ending, Receipt, Sighting
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.machine_tables import receipts, sightings

Json = Any
_CHUNK = 500  # a database takes only so many values in one statement
_MOST_LEFT_OUT = 1000  # of one answer


def write(tx: Tx, receipt: Receipt, *, times: int = 1) -> None:
    """The receipt stands, together with what it says of each order. `times` is how often the same was asked."""
    station = receipt.asker.calling_ae
    tx.lock(f"receipts {station}")
    digest = _digest(receipt)
    newest = tx.connection.execute(_newest(station)).one_or_none()
    if newest is not None and newest.sha256 == digest:
        _ask_again(tx, newest.id, receipt, times)
        return
    same = receipts.c.station == station, receipts.c.sha256 == digest
    known: int | None = tx.connection.execute(select(receipts.c.id).where(*same)).scalar_one_or_none()
    if known is None:
        row = insert(receipts).values({**_values(receipt), "sha256": digest, "times": times})
        known = int(tx.connection.execute(row.returning(receipts.c.id)).scalar_one())
    else:
        _ask_again(tx, known, receipt, times)
    _see(tx, station, known, receipt)
    changes.note(tx, "station", known, receipt.at)


def of_orders(tx: Tx, order_ids: Iterable[OrderId]) -> dict[OrderId, tuple[Sighting, ...]]:
    """The sightings of each order, by station; orders without any are not in it."""
    seen, missed = receipts.alias("seen_receipt"), receipts.alias("missed_receipt")
    query = (
        select(sightings, seen.c.last_at.label("seen_at"), missed.c.last_at.label("missed_at"))
        .outerjoin(seen, seen.c.id == sightings.c.seen)
        .outerjoin(missed, missed.c.id == sightings.c.missed)
        .order_by(sightings.c.order_id, sightings.c.station)
    )
    found: dict[OrderId, tuple[Sighting, ...]] = {}
    for chunk in _chunks(list(order_ids)):
        for row in tx.connection.execute(query.where(sightings.c.order_id.in_(chunk))):
            found[row.order_id] = (*found.get(row.order_id, ()), _read_sighting(row))
    return found


def last_of(tx: Tx, station: str) -> Asking | None:
    """What the station asked last; None when it never did."""
    row = tx.connection.execute(_newest(station)).one_or_none()
    return _read_asking(row) if row is not None else None


def recent(tx: Tx, station: str, limit: int = 20) -> tuple[Asking, ...]:
    """What the station asked, newest first."""
    rows = tx.connection.execute(_by_time(station).limit(limit))
    return tuple(_read_asking(row) for row in rows)


def askers(tx: Tx) -> tuple[str, ...]:
    """The AE title of everybody who asked and is not forgotten, in order."""
    query = select(receipts.c.station).distinct().order_by(receipts.c.station)
    return tuple(row.station for row in tx.connection.execute(query))


def forget(tx: Tx, before: datetime) -> int:
    """How many receipts are gone: those nobody's question has touched since `before`, with their sightings."""
    old = select(receipts.c.id).where(receipts.c.last_at < before)
    for column in ("seen", "missed"):
        values: dict[str, None] = {column: None}
        tx.connection.execute(update(sightings).where(sightings.c[column].in_(old)).values(values))
    empty = sightings.c.seen.is_(None), sightings.c.missed.is_(None)
    tx.connection.execute(delete(sightings).where(*empty))
    return tx.connection.execute(delete(receipts).where(receipts.c.last_at < before)).rowcount


def _by_time(station: str) -> "Select[Any]":
    mine = select(receipts).where(receipts.c.station == station)
    return mine.order_by(receipts.c.last_at.desc(), receipts.c.id.desc())


def _newest(station: str) -> "Select[Any]":
    return _by_time(station).limit(1)


def _ask_again(tx: Tx, receipt_id: int, receipt: Receipt, times: int) -> None:
    row = update(receipts).where(receipts.c.id == receipt_id)
    tx.connection.execute(row.values(last_at=receipt.at, times=receipts.c.times + times))


def _see(tx: Tx, station: str, receipt_id: int, receipt: Receipt) -> None:
    _point(tx, station, receipt.sent, {"seen": receipt_id, "profile": receipt.profile})
    groups: dict[tuple[Cause, str], list[OrderId]] = {}
    for left in receipt.left_out[:_MOST_LEFT_OUT]:
        groups.setdefault((left.cause, left.detail), []).append(left.order_id)
    for (cause, detail), ids in groups.items():
        values = {"missed": receipt_id, "cause": cause, "detail": detail, "profile": receipt.profile}
        _point(tx, station, ids, values)


def _point(tx: Tx, station: str, ids: Iterable[OrderId], values: Mapping[str, object]) -> None:
    """The sightings of those orders by the station say `values`, those that were not there too."""
    for chunk in _chunks(sorted(set(ids))):
        mine = sightings.c.station == station, sightings.c.order_id.in_(chunk)
        known = set(tx.connection.execute(select(sightings.c.order_id).where(*mine)).scalars())
        if known:
            tx.connection.execute(update(sightings).where(*mine).values(dict(values)))
        rows = [{"order_id": one, "station": station, **values} for one in chunk if one not in known]
        if rows:
            tx.connection.execute(insert(sightings), rows)


def _chunks(ids: Sequence[OrderId]) -> Iterable[Sequence[OrderId]]:
    return (ids[at : at + _CHUNK] for at in range(0, len(ids), _CHUNK))


def _digest(receipt: Receipt) -> str:
    same = (
        receipt.asker, receipt.ending, receipt.keys, receipt.query, receipt.profile, receipt.sent, receipt.left_out,
        receipt.reason,
    )  # fmt: skip
    return hashlib.sha256(repr(same).encode("utf-8", "surrogatepass")).hexdigest()


def _values(receipt: Receipt) -> dict[str, Any]:
    return {
        "station": receipt.asker.calling_ae,
        "called_ae": receipt.asker.called_ae,
        "address": receipt.asker.address,
        "implementation_uid": receipt.asker.implementation_uid,
        "implementation_version": receipt.asker.implementation_version,
        "first_at": receipt.at,
        "last_at": receipt.at,
        "ending": receipt.ending,
        "reason": receipt.reason,
        "profile": receipt.profile,
        "keys_asked": [list(key) for key in receipt.keys],
        "query": write_query(receipt.query),
        "matches": len(receipt.sent),
        "left_out": len(receipt.left_out),
    }


def write_query(query: WorklistQuery | None) -> Json:
    """JSON of the query; read back with `read_query`."""
    return asdict(query) if query is not None else None


def read_query(json: Json) -> WorklistQuery | None:
    """The query that `write_query` wrote."""
    if json is None:
        return None
    others = {name: _read_condition(value) for name, value in json.pop("others", {}).items()}
    read = {name: _read_condition(value) for name, value in json.items()}
    return WorklistQuery(**read, others=others)


def _read_condition(json: Json) -> Any:
    if not isinstance(json, dict):
        return json
    if "values" in json:
        return Match(**{**json, "values": tuple(json["values"])})
    return Range(**json)


def _read_asking(row: Any) -> Asking:
    return Asking(
        asker=Asker(
            calling_ae=row.station,
            called_ae=row.called_ae,
            address=row.address,
            implementation_uid=row.implementation_uid,
            implementation_version=row.implementation_version,
        ),
        first_at=row.first_at,
        last_at=row.last_at,
        times=row.times,
        ending=Ending(row.ending),
        reason=row.reason,
        profile=row.profile,
        keys=tuple((keyword, text) for keyword, text in row.keys_asked),
        query=read_query(row.query),
        matches=row.matches,
        left_out=row.left_out,
    )


def _read_sighting(row: Any) -> Sighting:
    return Sighting(
        order_id=OrderId(row.order_id),
        station=row.station,
        seen_at=row.seen_at,
        missed_at=row.missed_at,
        cause=Cause(row.cause) if row.cause else None,
        detail=row.detail,
        profile=row.profile,
    )
