"""The audit trail: appended to, never changed."""

from sqlalchemy import insert, select

from gateway.model.audit import AuditEvent
from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import audit

_RECORD = Ready(insert(audit).inline())


def record(tx: Tx, event: AuditEvent) -> None:
    """The event is part of the trail when the transaction commits."""
    row = {"actor": event.actor, "action": event.action, "subject": event.subject, "detail": event.detail}
    _RECORD.run(tx, {"at": event.at, **row})


def of_subject(tx: Tx, subject: str) -> tuple[AuditEvent, ...]:
    """Everything recorded about `subject` ("order:12"), oldest first."""
    query = select(audit).where(audit.c.subject == subject).order_by(audit.c.id)
    return tuple(
        AuditEvent(at=row.at, actor=row.actor, action=row.action, subject=row.subject, detail=row.detail)
        for row in tx.connection.execute(query)
    )
