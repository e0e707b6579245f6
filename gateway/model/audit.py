"""Who did what, and on what evidence."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One line of the audit trail. `detail` names fields and our own ids, never a patient's data."""

    at: datetime
    actor: str  # "user:anna", "hl7:ris", "dicom:US1", "gateway"
    action: str  # "order.send"
    subject: str  # "order:12"
    detail: str
