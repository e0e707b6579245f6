"""What FHIR servers called the resources that we wrote there, by destination and what finds them."""

from datetime import datetime

from sqlalchemy import delete, insert, select, update

from gateway.model.written import Written
from gateway.store.database import Tx
from gateway.store.fhir_tables import written


def of(tx: Tx, destination: str, address: str) -> Written | None:
    """The resource that the destination has for `address` ("ImagingStudy?identifier=..."); None when not known."""
    query = select(written.c.resource_id, written.c.version).where(
        written.c.destination == destination, written.c.address == address
    )
    row = tx.connection.execute(query).one_or_none()
    return Written(id=row.resource_id, version=row.version or None) if row is not None else None


def save(tx: Tx, destination: str, address: str, known: Written, at: datetime) -> None:
    """The destination's name for `address` is kept."""
    values = {"resource_id": known.id, "version": known.version or "", "updated_at": at}
    mine = (written.c.destination == destination) & (written.c.address == address)
    tx.lock(f"written {destination} {address}")
    if tx.connection.execute(update(written).where(mine).values(values)).rowcount == 0:
        tx.connection.execute(insert(written).values(destination=destination, address=address, **values))


def forget(tx: Tx, destination: str, address: str) -> None:
    """Nothing is known of `address` any more: it is gone there."""
    mine = (written.c.destination == destination) & (written.c.address == address)
    tx.connection.execute(delete(written).where(mine))
