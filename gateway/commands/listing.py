"""What the commands print: rows of plain values, as a table for people or as JSON lines for programs."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.model.delivery import Delivery
from gateway.model.message import Message
from gateway.model.order import Order, Provenance
from gateway.model.user import User

Row = Mapping[str, Any]

ORDER_JSON_ONLY = frozenset({"study_uid", "source", "message"})
"""What an order's row says to programs alone: people look for orders by other things."""
_WIDEST = 100_000  # characters in a line; wider than any row


def order_row(order: Order) -> Row:
    """An order's row; instants are ISO 8601 in UTC."""
    return {
        "id": order.id,
        "accession": order.accession,
        "state": order.state,
        "patient_id": order.patient.patient_id,
        "patient_name": order.patient.name,
        "birth_date": order.patient.birth_date,
        "sex": order.patient.sex,
        "modality": order.modality,
        "station": order.station,
        "start": order.start.isoformat() if order.start else None,
        "description": order.description,
        "study_uid": order.study_uid,
        "source": order.source,
        "faults": [str(fault) for fault in order.faults],
        "message": order.message_id,
    }


def provenance_row(entry: Provenance) -> Row:
    """Where one value came from."""
    return {
        "keyword": entry.keyword,
        "value": entry.value,
        "from": str(entry.place or "the module"),
        "raw": entry.raw,
        "steps": list(entry.steps),
        "at": entry.at,
    }


def message_row(message: Message) -> Row:
    """A message's row, without its content."""
    return {
        "id": message.id,
        "received_at": message.received_at.isoformat(),
        "protocol": message.protocol,
        "source": message.source,
        "type": message.keys.message_type,
        "control_id": message.keys.control_id,
        "state": message.state,
        "reason": message.reason,
        "accession": message.accession,
        "module": message.module,
    }


def delivery_row(delivery: Delivery) -> Row:
    """A delivery's row, without its content."""
    return {
        "id": delivery.id,
        "destination": delivery.destination,
        "kind": delivery.kind,
        "key": delivery.key,
        "order": delivery.order_id,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at.isoformat(),
        "error": delivery.error,
        "delivered_at": delivery.delivered_at.isoformat() if delivery.delivered_at else None,
    }


def user_row(user: User) -> Row:
    """A user's row."""
    return {"name": user.name, "role": user.role, "created_at": user.created_at.isoformat()}


def print_rows(
    rows: Sequence[Row], *, as_json: bool, console: Console, json_only: Collection[str] = ()
) -> None:
    """The rows are printed: one JSON object a line, or a table of the columns that hold anything.

    A row of the table is one line and whole, for people who copy from it and for grep; a terminal wraps it.
    """
    if as_json:
        sys.stdout.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        return
    if not rows:
        console.print("nothing yet")
        return
    shown = [
        key for key in rows[0] if key not in json_only and any(row[key] not in (None, "", []) for row in rows)
    ]
    table = Table(box=None, pad_edge=False)
    for key in shown:
        table.add_column(key.replace("_", " "))
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in shown))
    wide = Console(file=console.file, width=_WIDEST, highlight=False, emoji=False)
    wide.print(table, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = "; ".join(value) if isinstance(value, list) else str(value)
    return " / ".join(text.splitlines())
