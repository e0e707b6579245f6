"""C-FIND responses on their way out: encoded once, command and identifier in one PDU where they fit.

The peer library would decode and print each identifier, encode each command set three times, and send two PDUs.
Source: DICOM PS3.7 9.3.2.2, PS3.8 9.3.5.1 and annex E.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import BasicWorklistManagementServiceClass

from gateway.dicom import status
from gateway.dicom.incoming import Intake
from gateway.dicom.machines import Machines

MODALITY_WORKLIST: Final = "1.2.840.10008.5.1.4.31"

_C_FIND_RSP: Final = 0x8020
_HAS_DATA: Final = 0x0001
_NO_DATA: Final = 0x0101
_PDV_HEADER: Final = 6  # bytes: item length, context, control. Source: DICOM PS3.8 9.3.5.1, E.2
_COMMAND, _LAST = 0x01, 0x02
_MAX_COMMENT = 64  # Error Comment is LO. Source: DICOM PS3.7 E.1-1


def offer(event: Event, machines: Machines) -> None:
    """The association accepts the worklist in the transfer syntaxes that the machine's profile names."""
    association: Association = event.assoc
    request = association.requestor.primitive
    calling = str(request.calling_ae_title or "").strip() if request is not None else ""
    profile = machines.choose(calling, str(association.requestor.implementation_class_uid or ""))
    offered = [c for c in association.acceptor.supported_contexts if c.abstract_syntax != MODALITY_WORKLIST]
    offered.append(build_context(MODALITY_WORKLIST, list(profile.syntaxes)))
    association.acceptor.supported_contexts = offered


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response: its status, the encoded identifier of a match, a comment on a fault."""

    code: int
    identifier: bytes | None = None
    comment: str = ""


class WorklistProvider(BasicWorklistManagementServiceClass):
    """The worklist service on one association; the handler of EVT_C_FIND gives its responses."""

    def SCP(self, req: C_FIND | C_GET | C_MOVE, context: PresentationContext) -> None:  # noqa: N802 (its own name)
        """Every response the handler gives is sent, and a Success at the end where it gave no other end."""
        parameters = {"request": req, "context": context.as_tuple, "_is_cancelled": self.is_cancelled}
        assert isinstance(req, C_FIND)  # nothing else is offered
        responses: Iterator[Response] | None = evt.trigger(self.assoc, evt.EVT_C_FIND, parameters)
        for response in responses or ():
            if not self.assoc.is_established:
                return
            self._send(req, context, response)
            if response.code not in (status.FIND_PENDING, status.FIND_PENDING_UNSUPPORTED):
                return
        if self.assoc.is_established:
            self._send(req, context, Response(code=status.SUCCESS))

    def _send(self, request: C_FIND, context: PresentationContext, response: Response) -> None:
        number = context.context_id or 0
        largest = self.assoc.dimse.maximum_pdu_size
        command = command_set(request.MessageID or 0, str(request.AffectedSOPClassUID), response)
        values = list(fragments(command, _COMMAND, largest))
        if response.identifier is not None:
            values += fragments(response.identifier, 0, largest)
        intake = self.assoc.dimse
        assert isinstance(intake, Intake)  # since the connection opened
        intake.send_values(_pdu(number, group) for group in packed(values, largest))


def _pdu(context_id: int, values: list[bytes]) -> P_DATA:
    primitive = P_DATA()
    primitive.presentation_data_value_list.extend((context_id, value) for value in values)
    return primitive


def command_set(message_id: int, sop_class: str, response: Response) -> bytes:
    """The command set of a C-FIND response. Source: DICOM PS3.7 table 9.3-3."""
    has_data = _HAS_DATA if response.identifier is not None else _NO_DATA
    elements = (
        _element(0x0002, _padded(sop_class.encode("ascii"), b"\0"))
        + _element(0x0100, struct.pack("<H", _C_FIND_RSP))
        + _element(0x0120, struct.pack("<H", message_id))
        + _element(0x0800, struct.pack("<H", has_data))
        + _element(0x0900, struct.pack("<H", response.code))
    )
    if response.comment:
        comment = response.comment[:_MAX_COMMENT].replace("\\", "/").encode("ascii", "replace")
        elements += _element(0x0902, _padded(comment, b" "))
    return _element(0x0000, struct.pack("<I", len(elements))) + elements


def fragments(message: bytes, kind: int, largest: int) -> Iterator[bytes]:
    """The presentation data values of a command set or data set, for PDUs of at most `largest` bytes (0: any size)."""
    room = max(largest - _PDV_HEADER, 1) if largest else max(len(message), 1)
    for start in range(0, max(len(message), 1), room):
        last = _LAST if start + room >= len(message) else 0
        yield bytes((kind | last,)) + message[start : start + room]


def packed(values: list[bytes], largest: int) -> Iterator[list[bytes]]:
    """The values in groups that fit a PDU each."""
    group: list[bytes] = []
    size = 0
    for value in values:
        needed = len(value) + _PDV_HEADER - 1
        if group and largest and size + needed > largest:
            yield group
            group, size = [], 0
        group.append(value)
        size += needed
    yield group


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, number, len(value)) + value


def _padded(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
