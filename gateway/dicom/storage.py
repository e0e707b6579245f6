"""The storage service: an object is written, checked, kept, and only then acknowledged. Source: DICOM PS3.4 B."""

import logging

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from gateway.dicom import status
from gateway.dicom.access import Access, Refusal
from gateway.dicom.header import Unfit, read_object
from gateway.dicom.incoming import IncomingData, IncomingObject, Intake, calling_ae
from gateway.flow.keep import Outcome, keep
from gateway.flow.ports import Ports
from gateway.model.errors import Malformed, Unavailable
from gateway.model.study import Received

log = logging.getLogger(__name__)


def store(event: Event, ports: Ports, access: Access) -> int | Dataset:
    """The status of a C-STORE request. Success leaves only when the object is durable; on failure nothing is left."""
    answer = _store(event, ports, access)
    ports.tally.count("images", "stored" if answer == status.SUCCESS else "refused")
    return answer


def _store(event: Event, ports: Ports, access: Access) -> int | Dataset:
    try:
        incoming = _claimed(event)
        try:
            if incoming.is_too_long:
                address = str(event.assoc.requestor.address)
                access.refuse(Refusal.OBJECT_TOO_LONG, peer=calling_ae(event), address=address)
                return status.with_comment(status.STORE_OUT_OF_RESOURCES, "larger than is stored here")
            return _keep(ports, event, incoming)
        finally:
            incoming.discard()
    except Unfit as error:
        return _refused(event, status.STORE_UNFIT, str(error))
    except Malformed as error:
        return _refused(event, status.STORE_UNREADABLE, str(error))
    except (OSError, Unavailable) as error:
        log.error("object.not_stored", extra={"peer": calling_ae(event), "error": type(error).__name__})
        return status.with_comment(status.STORE_OUT_OF_RESOURCES, "cannot be stored now, try again")
    except Exception:
        log.exception("object.failed", extra={"peer": calling_ae(event)})
        return status.with_comment(status.STORE_FAULT, "a fault of the receiver's own")


def _claimed(event: Event) -> IncomingObject:
    incoming = event.request.DataSet if isinstance(event.request, C_STORE) else None
    if not isinstance(incoming, IncomingData):
        raise Malformed("data set: absent")
    if incoming.failure is not None:
        raise incoming.failure
    if incoming.object is None:
        raise Malformed("data set: absent")
    intake = event.assoc.dimse
    if isinstance(intake, Intake) and not intake.claim(incoming.object):
        raise Malformed("the association ended before the object was stored")
    return incoming.object


def _keep(ports: Ports, event: Event, incoming: IncomingObject) -> int | Dataset:
    incoming.finish()
    received = read_object(incoming, str(event.context.transfer_syntax), calling_ae(event))
    _check_request(event, received)
    size = incoming.offset + incoming.size
    outcome = keep(ports, received, incoming.path, sha256=incoming.sha256, size=size)
    if outcome is Outcome.DIFFERENT:
        return _refused(event, status.STORE_UID_REUSED, "same SOP Instance UID, other content: kept aside")
    log.info("object.stored", extra={"peer": calling_ae(event), "outcome": outcome, "bytes": size})
    return status.SUCCESS


def _check_request(event: Event, received: Received) -> None:
    """Raises Unfit when the data set is not the object that the request named. Source: DICOM PS3.4 B.2.1."""
    request = event.request
    if not isinstance(request, C_STORE) or str(request.AffectedSOPInstanceUID) != received.sop_uid:
        raise Unfit("SOPInstanceUID (0008,0018): not the one of the request")
    if str(request.AffectedSOPClassUID) != received.sop_class:
        raise Unfit("SOPClassUID (0008,0016): not the one of the request")


def _refused(event: Event, code: int, reason: str) -> Dataset:
    log.warning(
        "object.refused", extra={"peer": calling_ae(event), "status": f"0x{code:04X}", "reason": reason}
    )
    return status.with_comment(code, reason)
