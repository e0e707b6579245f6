"""Study Instance UIDs of orders: made once, and the same for all steps of a requested procedure.

Source: DICOM PS3.3 C.4.11 (requested procedure), PS3.5 B.2 (UIDs under 2.25).
"""

from collections.abc import Iterable

from gateway.flow.occasion import Occasion, text_of
from gateway.model.ids import PatientRow, Uid, is_uid
from gateway.model.lifecycle import FINAL
from gateway.model.order import Attributes, Order
from gateway.store import studies


def new_study_uid(
    occasion: Occasion, attributes: Attributes, patient_row: PatientRow, named: Iterable[Order]
) -> Uid:
    """The sender's UID, else that of a sister step of the same requested procedure, else a fresh one.

    `named` are the orders that carry one of the new order's numbers.
    """
    given = text_of(attributes, "StudyInstanceUID")
    if is_uid(given):
        return Uid(given)
    accession, procedure = text_of(attributes, "AccessionNumber"), text_of(attributes, "RequestedProcedureID")
    sisters = (order for order in named if accession and order.accession == accession)
    for sister in sisters:
        if sister.procedure_id == (procedure or sister.procedure_id) and _is_sister(sister, patient_row):
            return sister.study_uid
    return occasion.ports.new_uid()


def kept_study_uid(occasion: Occasion, known: Order, attributes: Attributes) -> Uid:
    """The order's UID; the sender's own replaces it only while nothing was stored under the old one."""
    given = text_of(attributes, "StudyInstanceUID")
    if not is_uid(given) or given == known.study_uid:
        return known.study_uid
    return known.study_uid if studies.of_uid(occasion.tx, known.study_uid) else Uid(given)


def _is_sister(order: Order, patient_row: PatientRow) -> bool:
    return order.patient_row == patient_row and order.state not in FINAL
