"""The receipt of one query, taken up while its answer is under way."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from pynetdicom.events import Event

from gateway.dicom.incoming import calling_ae
from gateway.dicom.keys import Key
from gateway.model.ids import OrderId
from gateway.model.receipt import Asker, Cause, Ending, LeftOut, Receipt
from gateway.model.worklist import WorklistQuery


class Draft:
    """A receipt being written; `receipt` makes it whole. Until told otherwise the asker went away in the middle."""

    def __init__(self, event: Event, at: datetime) -> None:
        self._asker = asker_of(event)
        self._at = at
        self._keys: tuple[tuple[str, str], ...] = ()
        self._query: WorklistQuery | None = None
        self._profile = ""
        self._sent: list[OrderId] = []
        self._left_out: list[LeftOut] = []
        self._ending, self._reason = Ending.CANCELLED, ""

    def asked(self, keys: Iterable[Key], query: WorklistQuery, profile: str = "") -> None:
        """The machine asked this, and is known under that profile."""
        self._keys, self._query, self._profile = tuple(_told(keys, "")), query, profile

    def sent(self, order_id: OrderId) -> None:
        """The order is among the answers."""
        self._sent.append(order_id)

    def left_out(self, order_id: OrderId, cause: Cause, detail: str = "") -> None:
        """The order was found, and is not among the answers."""
        self._left_out.append(LeftOut(order_id=order_id, cause=cause, detail=detail))

    def ended(self, ending: Ending, reason: str = "") -> None:
        """How it ended; `reason` names fields, never values."""
        self._ending, self._reason = ending, reason

    def receipt(self) -> Receipt:
        """The receipt as it stands."""
        return Receipt(
            asker=self._asker,
            at=self._at,
            ending=self._ending,
            keys=self._keys,
            query=self._query,
            profile=self._profile,
            sent=tuple(self._sent),
            left_out=tuple(self._left_out),
            reason=self._reason,
        )


def asker_of(event: Event) -> Asker:
    """Who is at the other end of the association."""
    requestor = event.assoc.requestor
    request = requestor.primitive
    return Asker(
        calling_ae=calling_ae(event),
        called_ae=str(request.called_ae_title or "").strip() if request is not None else "",
        address=str(requestor.address or ""),
        implementation_uid=str(requestor.implementation_class_uid or ""),
        implementation_version=str(requestor.implementation_version_name or "").strip(),
    )


def _told(keys: Iterable[Key], prefix: str) -> Iterator[tuple[str, str]]:
    for key in keys:
        if key.text:
            yield f"{prefix}{key.keyword}", key.text
        for item in key.items:
            yield from _told(item, f"{prefix}{key.keyword}.")
