"""Who read which study and who searched, in the audit trail: once an hour, since a viewer asks a thousand times."""

import threading
from datetime import datetime, timedelta

from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.ids import StudyId
from gateway.store import audit

AGAIN_AFTER = timedelta(hours=1)
_MOST = 10_000


class Trail:
    """What was recorded of late. Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: dict[tuple[str, str], datetime] = {}

    def study(self, ports: Ports, actor: str, study_id: StudyId) -> None:
        """The audit trail says that the study was retrieved."""
        self._record(ports, actor, "study.retrieve", f"study:{study_id}")

    def search(self, ports: Ports, actor: str) -> None:
        """The audit trail says that there were searches; never for what."""
        self._record(ports, actor, "studies.search", "")

    def _record(self, ports: Ports, actor: str, action: str, subject: str) -> None:
        at = ports.clock()
        with self._lock:
            last = self._recorded.get((actor, subject))
            if last is not None and at - last < AGAIN_AFTER:
                return
        with ports.database.write() as tx:
            event = AuditEvent(at=at, actor=actor, action=action, subject=subject, detail="dicomweb")
            audit.record(tx, event)
        with self._lock:  # only what is durable counts: two at once are recorded twice, and never not at all
            if len(self._recorded) >= _MOST:
                self._recorded.clear()
            self._recorded[actor, subject] = at
