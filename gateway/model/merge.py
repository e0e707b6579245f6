"""A merge of two patients, as it was carried out: enough to take it back."""

from dataclasses import dataclass
from datetime import datetime

from gateway.model.ids import MergeId, MessageId, OrderId, PatientRow, StudyId
from gateway.model.patient import Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Relinked:
    """Images that had no order and belong to one since the merge. `doubt` is what was said of them before."""

    study: StudyId
    order: OrderId
    doubt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a merge moved. `waiting` are orders that were being examined: they move when their exam ends."""

    orders: tuple[OrderId, ...] = ()
    waiting: tuple[OrderId, ...] = ()
    studies: tuple[Relinked, ...] = ()

    @property
    def is_anything(self) -> bool:
        """Whether the merge concerned anything here."""
        return bool(self.orders or self.waiting or self.studies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Who was merged into whom, by which message."""

    id: MergeId
    at: datetime
    message_id: MessageId
    prior_row: PatientRow
    prior: Patient  # who was given up
    survivor_row: PatientRow
    survivor: Patient
    freed_from: PatientRow | None  # whom the survivor was merged into until then; None: stood for himself
    moved: Moved
    undone_at: datetime | None
    undone_by: str  # the actor, "" while the merge stands
