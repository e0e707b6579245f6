"""Answers kept for the next time: a machine asks the same every minute, and orders seldom change."""

from collections.abc import Hashable, Iterable

from gateway.dicom.keys import Key
from gateway.model.ids import OrderId
from gateway.model.order import Order
from gateway.model.patient import Patient

_MOST = 50_000  # entries, a few hundred bytes each

Shape = Hashable
"""Everything but the order that an answer depends on."""


class KeptBackText(str):
    """Why an entry was kept back, where its identifier would stand."""

    __slots__ = ()


Entry = bytes | KeptBackText


class Shelf:
    """Encoded answers by shape and order. An order that changed since, or its patient, is not found."""

    def __init__(self) -> None:
        self._rows: dict[Shape, dict[OrderId, tuple[int, Patient, Entry]]] = {}
        self._count = 0

    def find(self, shape: Shape, order: Order) -> Entry | None:
        """The answer, None when there is none yet."""
        kept = self._rows.get(shape, {}).get(order.id)
        if kept is None or kept[0] != order.version or kept[1] != order.patient:
            return None
        return kept[2]

    def keep(self, shape: Shape, order: Order, entry: Entry) -> None:
        """The answer is found the next time. A full shelf is emptied first."""
        if self._count >= _MOST:
            self._rows, self._count = {}, 0
        self._rows.setdefault(shape, {})[order.id] = (order.version, order.patient, entry)
        self._count += 1


def shape_of(keys: Iterable[Key]) -> Hashable:
    """What of the keys decides how an answer looks: everything but the values asked."""
    return tuple((key.tag, tuple(shape_of(item) for item in key.items)) for key in keys)
