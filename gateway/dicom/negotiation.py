"""An association is asked for: judged, then refused with the right code, or accepted with what it may do."""

from collections.abc import Mapping
from typing import Final

from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from gateway.dicom.access import ECHO_IS_ANSWERED, REJECTIONS, Access, Caller, Refusal

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # Source: DICOM PS3.7 A.2.1
VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_LEVELS: Final = b"\x02\x00\x03\x00\x00\x00"
"""Level 2 (all attributes kept), bit preserving, no coercion. Source: DICOM PS3.4 B.3.1."""

_USER_REJECTION: Final = 0x01  # Source: DICOM PS3.8 table 9-18


class Gate(ACSE):
    """Negotiates an association as the acceptor. Takes the place of the association's own provider."""

    def __init__(self, association: Association, access: Access) -> None:
        super().__init__(association)
        self._access = access
        self._turned_away: list[PresentationContext] = []

    def send_accept(self) -> None:
        """What was asked for and is not allowed is refused by name; every role that was asked for is answered."""
        self.assoc._rejected_cx += self._turned_away
        accepted = {context.abstract_syntax for context in self.assoc.accepted_contexts}
        answered = self.acceptor.role_selection
        for uid, asked in self.requestor.role_selection.items():
            if uid in accepted and uid not in answered and asked.scu_role:
                item = SCP_SCU_RoleSelectionNegotiation()
                item.sop_class_uid, item.scu_role, item.scp_role = uid, True, False
                self.acceptor.add_negotiation_item(item)
        super().send_accept()

    def _negotiate_as_acceptor(self) -> None:
        request = self.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):  # the connection ended instead
            self.assoc.kill()
            return
        refusal = self._access.judge(self._caller(request))
        if refusal is not None:
            peer = str(request.calling_ae_title).strip()
            self._access.refuse(refusal, peer=peer, address=str(self.requestor.address))
            if refusal not in ECHO_IS_ANSWERED or not self._leave_only_echo(request):
                self._reject(refusal)
                return
        super()._negotiate_as_acceptor()

    def _caller(self, request: A_ASSOCIATE) -> Caller:
        address = str(self.requestor.address)
        others = [other for other in self.assoc.ae.active_associations if other.is_acceptor]
        return Caller(
            calling_ae=str(request.calling_ae_title).strip(),
            called_ae=str(request.called_ae_title).strip(),
            address=address,
            is_dicom=str(request.application_context_name) == APPLICATION_CONTEXT,
            associations=len(others),
            of_its_own=sum(other.requestor.address == address for other in others),
        )

    def _leave_only_echo(self, request: A_ASSOCIATE) -> bool:
        """Whether Verification was proposed; then nothing else of the request is left to be accepted."""
        proposed = request.presentation_context_definition_list
        kept = [context for context in proposed if context.abstract_syntax == VERIFICATION]
        for context in proposed:
            if context.abstract_syntax != VERIFICATION:
                context.result = _USER_REJECTION
                self._turned_away.append(context)
        request.presentation_context_definition_list = kept
        return bool(kept)

    def _reject(self, refusal: Refusal) -> None:
        self.send_reject(*REJECTIONS[refusal])
        evt.trigger(self.assoc, evt.EVT_REJECTED, {})
        self.assoc.kill()


def storage_levels(event: Event, services: frozenset[str]) -> dict[str, bytes]:
    """The answer to SOP Class Extended Negotiation of storage classes: everything not among our other services."""
    asked: Mapping[str, bytes] = getattr(event, "app_info")  # noqa: B009 - the library makes it as it goes
    return {uid: STORAGE_LEVELS for uid in asked if uid not in services}
