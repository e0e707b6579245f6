"""Storage commitment: the request is durable before its answer, the report follows. Source: DICOM PS3.4 J.

The report goes out on an association that the machine has open, else on a new one to the machine's own address, where
we are the provider by role negotiation.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context

from gateway.dicom import status
from gateway.dicom.elements import ALL, Element, read_elements, syntax_of
from gateway.dicom.incoming import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    IncomingData,
    Intake,
    calling_ae,
)
from gateway.dicom.machines import Machines
from gateway.flow.commit import request_commitment
from gateway.flow.ports import Ports
from gateway.model.commitment import Failure, Reference, Report, Request
from gateway.model.errors import Malformed, Refused, Unavailable
from gateway.model.ids import MAX_UID, Uid

log = logging.getLogger(__name__)

COMMITMENT: Final = "1.2.840.10008.1.20.1"
INSTANCE: Final = "1.2.840.10008.1.20.1.1"

_REQUEST_COMMITMENT: Final = 1  # Source: DICOM PS3.4 J.3.2.1
_ALL_KEPT: Final = 1
_SOME_FAILED: Final = 2  # Source: DICOM PS3.4 J.3.3.1
_FAILURES: Final = {
    Failure.ABSENT: 0x0112,
    Failure.OTHER_CLASS: 0x0119,
    Failure.UNREADABLE: 0x0110,
    Failure.REUSED: 0x0131,
}
"""Failure Reason (0008,1197). Source: DICOM PS3.3 C.14.1.1."""

_TRANSACTION = 0x00081195
_REFERENCES = 0x00081199
_SOP_CLASS = 0x00081150
_SOP_INSTANCE = 0x00081155
_MAX_REFERENCES = 20_000
_CONNECT_S = 10
_ANSWER_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a machine listens for reports. `tls` gives a ready context, None for a plain connection."""

    host: str
    port: int
    tls: Callable[[], ssl.SSLContext] | None = None


def act(event: Event, ports: Ports) -> tuple[int, None]:
    """The status of an N-ACTION. Success leaves only when the request is durable."""
    peer = calling_ae(event)
    intake = event.assoc.dimse
    if isinstance(intake, Intake):
        intake.is_idle.clear()
    try:
        request = _request(event)
        request_commitment(ports, request)
    except Malformed as error:
        log.warning("commitment.refused", extra={"peer": peer, "reason": str(error)})
        return status.ACTION_INVALID_ARGUMENT, None
    except Refused as error:
        log.warning("commitment.refused", extra={"peer": peer, "reason": str(error)})
        return status.ACTION_UNKNOWN, None
    except Unavailable as error:
        log.error("commitment.unavailable", extra={"peer": peer, "error": type(error.__cause__).__name__})
        return status.ACTION_FAILED, None
    except Exception:
        log.exception("commitment.failed", extra={"peer": peer})
        return status.ACTION_FAILED, None
    log.info("commitment.requested", extra={"peer": peer, "objects": len(request.references)})
    return status.SUCCESS, None


def _request(event: Event) -> Request:
    """Raises Malformed, and Refused for another action."""
    action = event.request
    if not isinstance(action, N_ACTION) or action.ActionTypeID != _REQUEST_COMMITMENT:
        raise Refused("Action Type ID (0000,1008): not a request for storage commitment")
    written = action.ActionInformation
    if not isinstance(written, IncomingData) or written.is_too_long:
        raise Malformed("action information: absent or too long")
    content = written.getvalue()
    syntax = syntax_of(str(event.context.transfer_syntax))
    found = {one.tag: one for one in read_elements(BytesIO(content), len(content), syntax, ALL)}
    references = found[_REFERENCES].items if _REFERENCES in found else ()
    if not 0 < len(references) <= _MAX_REFERENCES:
        raise Malformed("Referenced SOP Sequence (0008,1199): absent, empty or too long")
    return Request(
        peer=calling_ae(event),
        address=str(event.assoc.requestor.address),
        transaction_uid=_uid(found, _TRANSACTION, "Transaction UID (0008,1195)"),
        references=tuple(dict.fromkeys(_reference(item) for item in references)),
    )


def _reference(item: tuple[Element, ...]) -> Reference:
    found = {one.tag: one for one in item}
    return Reference(
        sop_class=_uid(found, _SOP_CLASS, "Referenced SOP Class UID (0008,1150)"),
        sop_uid=_uid(found, _SOP_INSTANCE, "Referenced SOP Instance UID (0008,1155)"),
    )


def _uid(found: Mapping[int, Element], tag: int, field: str) -> Uid:
    text = found[tag].value.decode("ascii", "replace").strip("\0 ") if tag in found else ""
    if not text:
        raise Malformed(f"{field}: absent")
    if len(text) > MAX_UID or not text.replace(".", "").isdecimal():
        raise Malformed(f"{field}: not a UID")
    return Uid(text)


class Reporter:
    """Tells machines what is kept."""

    def __init__(
        self,
        ae_title: str,
        places: Mapping[str, Place],
        associations: Callable[[], Iterable[Association]],
        machines: Machines,
    ) -> None:
        """`places` by the AE title of the machine; `associations` gives those that machines have open now."""
        self._machines = machines
        self._ae_title = ae_title
        self._places = places
        self._associations = associations

    def tell(self, report: Report) -> None:
        """The machine knows. Raises Unavailable when it cannot be told now, Refused when it refuses the report.

        Its profile says where it listens: on its own association, on a new one, or on both.
        """
        awaited = self._machines.choose(report.request.peer).commitment_association
        for association, intake, context in self._open(report) if awaited != "new" else ():
            intake.is_idle.wait(_ANSWER_S)
            answer = intake.report(_event(report, context), context.context_id or 1, _ANSWER_S)
            if answer is not None:
                _check(answer.Status)
                return
            log.warning("commitment.not_answered", extra={"peer": report.request.peer})
            if association.is_established:
                continue
        if awaited == "same":
            raise Unavailable("the machine listens on its own association alone, and has none open")
        self._tell_anew(report)

    def _open(self, report: Report) -> Iterator[tuple[Association, Intake, PresentationContext]]:
        """The machine's own associations that can carry the report."""
        for association in self._associations():
            requestor = association.requestor
            is_theirs = (
                association.is_established
                and str(requestor.ae_title).strip() == report.request.peer
                and requestor.address == report.request.address
            )
            for context in association.accepted_contexts if is_theirs else ():
                if context.abstract_syntax == COMMITMENT and isinstance(association.dimse, Intake):
                    yield association, association.dimse, context
                    break

    def _tell_anew(self, report: Report) -> None:
        place = self._places.get(report.request.peer)
        if place is None:
            raise Unavailable("the machine has no association open, and its host and port are not configured")
        association = self._associate(report.request.peer, place)
        try:
            for context in association.accepted_contexts:
                context._as_scp = (
                    True  # a machine that leaves the role unanswered takes the report all the same
                )
            dataset, kind = _content(report)
            answer, _ = association.send_n_event_report(dataset, kind, COMMITMENT, INSTANCE)
            if "Status" not in answer:
                raise Unavailable("the machine did not answer the report")
            _check(answer.Status)
        finally:
            if association.is_established:
                association.release()

    def _associate(self, peer: str, place: Place) -> Association:
        try:  # the library would leave the socket of a connection that cannot be made to chance
            socket.create_connection((place.host, place.port), timeout=_CONNECT_S).close()
        except OSError as error:
            raise Unavailable(
                f"the machine cannot be reached: {error.strerror or type(error).__name__}"
            ) from error
        entity = ApplicationEntity(self._ae_title)
        entity.connection_timeout = _CONNECT_S
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _ANSWER_S
        entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        entity.implementation_version_name = IMPLEMENTATION_VERSION
        association = entity.associate(
            place.host,
            place.port,
            contexts=[build_context(COMMITMENT, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])],
            ae_title=peer,
            ext_neg=[build_role(UID(COMMITMENT), scp_role=True)],
            tls_args=(place.tls(), place.host) if place.tls is not None else None,
        )
        if not association.is_established:
            raise Unavailable("the machine cannot be reached, or refuses our association")
        return association


def _event(report: Report, context: PresentationContext) -> N_EVENT_REPORT:
    dataset, kind = _content(report)
    syntax = context.transfer_syntax[0]
    primitive = N_EVENT_REPORT()
    primitive.MessageID = 1
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(COMMITMENT), UID(INSTANCE)
    primitive.EventTypeID = kind
    primitive.EventInformation = BytesIO(
        encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian) or b""
    )
    return primitive


def _content(report: Report) -> tuple[Dataset, int]:
    """Event Information and Event Type ID. Source: DICOM PS3.4 table J.3-2."""
    dataset = Dataset()
    dataset.TransactionUID = report.request.transaction_uid
    if report.kept:
        dataset.ReferencedSOPSequence = [_item(one) for one in report.kept]
    if not report.failed:
        return dataset, _ALL_KEPT
    items = []
    for reference, failure in report.failed:
        item = _item(reference)
        item.FailureReason = _FAILURES[failure]
        items.append(item)
    dataset.FailedSOPSequence = items
    return dataset, _SOME_FAILED


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class
    item.ReferencedSOPInstanceUID = reference.sop_uid
    return item


def _check(code: int | None) -> None:
    """Raises Unavailable: a machine that answers with a failure now may take the report later."""
    if code is None or (code != status.SUCCESS and code & 0xF000 != 0xB000):
        raise Unavailable(f"the machine answered the report with status 0x{code or 0:04X}")
