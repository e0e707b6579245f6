"""The worklist service: a machine asks, the sent orders that match answer. Source: DICOM PS3.4 K."""

import logging
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.events import Event

from gateway.dicom import status
from gateway.dicom.elements import syntax_of
from gateway.dicom.identifier import answer, attributes_of
from gateway.dicom.incoming import IncomingData, calling_ae
from gateway.dicom.keys import Asked, query, read_keys
from gateway.dicom.matching import agrees
from gateway.flow.ports import Ports
from gateway.model.errors import Malformed, Unavailable
from gateway.model.order import Order
from gateway.model.worklist import Match, WorklistQuery
from gateway.store import worklist

log = logging.getLogger(__name__)

Response = tuple[int | Dataset, Dataset | None]


def find(event: Event, ports: Ports) -> Iterator[Response]:
    """The responses to a C-FIND request, one for each match; the peer library adds the final Success.

    A fault is said, never turned into an empty list.
    """
    peer = calling_ae(event)
    try:
        asked = _asked(event)
        wanted = query(asked.keys)
        found = _found(ports, wanted)
        yield from _responses(event, ports, asked, wanted.others, found)
        ports.tally.count("worklist_queries", "answered")
    except Malformed as error:
        log.warning("worklist.refused", extra={"peer": peer, "reason": str(error)})
        ports.tally.count("worklist_queries", "refused")
        yield status.with_comment(status.FIND_IDENTIFIER_UNFIT, str(error)), None
    except Unavailable as error:
        log.error("worklist.unavailable", extra={"peer": peer, "error": type(error.__cause__).__name__})
        ports.tally.count("worklist_queries", "failed")
        yield status.with_comment(status.FIND_OUT_OF_RESOURCES, "the worklist cannot be read now"), None
    except Exception:
        log.exception("worklist.failed", extra={"peer": peer})
        ports.tally.count("worklist_queries", "failed")
        yield status.with_comment(status.FIND_UNABLE, "a fault of the worklist's own"), None


def _asked(event: Event) -> Asked:
    identifier = event.request.Identifier if isinstance(event.request, C_FIND) else None
    if isinstance(identifier, IncomingData) and identifier.is_too_long:
        raise Malformed("identifier: too long")
    syntax = syntax_of(str(event.context.transfer_syntax))
    asked = read_keys(identifier.getvalue() if identifier else b"", syntax)
    if not asked.keys:
        raise Malformed("identifier: no keys")
    return asked


def _found(ports: Ports, wanted: WorklistQuery) -> tuple[Order, ...]:
    """Every order whose columns match. All at once: no transaction is open while answers are sent."""
    with ports.database.read() as tx:
        return tuple(worklist.find(tx, wanted, ports.listed))


def _responses(
    event: Event, ports: Ports, asked: Asked, others: dict[str, Match], found: tuple[Order, ...]
) -> Iterator[Response]:
    count = 0
    peer = calling_ae(event)
    for order in found:
        if event.is_cancelled:
            yield status.FIND_CANCELLED, None
            return
        dataset = _entry(ports, order, asked, others, peer)
        if dataset is not None:
            count += 1
            yield status.FIND_PENDING, dataset
    log.info("worklist.answered", extra={"peer": peer, "answers": count})


def _entry(ports: Ports, order: Order, asked: Asked, others: dict[str, Match], peer: str) -> Dataset | None:
    """The order as asked; None when it does not match, or cannot be said: one bad entry spoils no list."""
    try:
        attributes = attributes_of(order, calling_ae=peer, zone=ports.zone)
        return answer(attributes, asked, order.id) if agrees(attributes, others) else None
    except (ValueError, TypeError, LookupError) as error:
        log.error("worklist.entry_left_out", extra={"order": order.id, "error": type(error).__name__})
        return None
