"""C-FIND responses on their way out: encoded once, command and identifier in one PDU where they fit.

The peer library would decode and print each identifier, encode each command set three times, and send two PDUs.
Source: DICOM PS3.7 9.3.2.2, PS3.8 9.3.5.1 and annex E.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import BasicWorklistManagementServiceClass

from gateway.dicom import status
from gateway.dicom.command import COMMAND, DATA, find_response, fragments, packed, pdu
from gateway.dicom.incoming import Intake
from gateway.dicom.machines import Machines

MODALITY_WORKLIST: Final = "1.2.840.10008.5.1.4.31"


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
        """Every response the handler gives is sent, and a Success at the end where it gave no other end.

        An association that is not the gateway's own, of a simulated archive say, is served by the library.
        """
        if not isinstance(self.assoc.dimse, Intake):
            super().SCP(req, context)
            return
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
        command = find_response(
            request.MessageID or 0,
            str(request.AffectedSOPClassUID),
            response.code,
            has_identifier=response.identifier is not None,
            comment=response.comment,
        )
        values = list(fragments(command, COMMAND, largest))
        if response.identifier is not None:
            values += fragments(response.identifier, DATA, largest)
        intake = self.assoc.dimse
        assert isinstance(intake, Intake)  # since the connection opened
        intake.send_values(pdu(number, group) for group in packed(values, largest))
