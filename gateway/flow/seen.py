"""Seen: what machines asked of their worklists and got, written down; old receipts are forgotten."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import groupby

from gateway.flow.ports import Ports
from gateway.model.receipt import Receipt
from gateway.store import receipts


def record(ports: Ports, waiting: Iterable[Receipt]) -> None:
    """The receipts stand, in one transaction. Raises Unavailable."""
    with ports.database.write() as tx:
        for same, group in groupby(waiting, _essence):
            found = list(group)
            del same
            receipts.write(tx, found[-1], times=len(found))


def forget(ports: Ports, kept: timedelta) -> int:
    """How many receipts older than `kept` are gone."""
    with ports.database.write() as tx:
        return receipts.forget(tx, ports.clock() - kept)


def _essence(receipt: Receipt) -> tuple[object, ...]:
    """All that makes two receipts in a row the same question with the same answer."""
    return (
        receipt.asker, receipt.ending, receipt.keys, receipt.profile, receipt.sent, receipt.left_out, receipt.reason,
    )  # fmt: skip
