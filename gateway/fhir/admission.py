"""Who knocks in vain is counted, slowed down, written into the audit trail and told to a person."""

import logging
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from starlette.responses import Response

from gateway.fhir.auth import Source, challenge, is_admitted
from gateway.fhir.pushing import Addresses, Attempt, holds
from gateway.fhir.responding import refusal
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.errors import Unavailable
from gateway.store import audit

log = logging.getLogger(__name__)

TRIES = 20
WITHIN = timedelta(minutes=1)
TOLD_FOR = timedelta(minutes=15)

_MOST_PEERS = 1000


@dataclass(slots=True)
class _Knocks:
    """The failures of one peer at one source."""

    at: deque[datetime] = field(default_factory=lambda: deque(maxlen=TRIES))
    unwritten: int = 0
    written_at: datetime | None = None


class Door:
    """Lets senders in. Safe to use from several threads."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._lock = threading.Lock()
        self._knocks: OrderedDict[tuple[str, str], _Knocks] = OrderedDict()

    def refused(self, source: Source, attempt: Attempt) -> Response | None:
        """None for a sender who proves to be the source; else the answer, which tells nothing of what is expected.

        Who failed TRIES times within a minute is not listened to until that is a minute ago.
        """
        now = self._ports.clock()
        if self._is_barred(source.name, attempt.peer, now):
            self._ports.tally.count("unadmitted", source.name, "barred")
            headers = {"Retry-After": str(int(WITHIN.total_seconds()))}
            return refusal(429, "throttled", "too many requests without proof came from here", headers)
        if is_admitted(source, attempt):
            return None
        self._ports.tally.count("unadmitted", source.name, "refused")
        log.warning("fhir.not_admitted", extra={"source": source.name, "peer": attempt.peer})
        self._note(source.name, attempt.peer, now)
        if _is_only_elsewhere(source, attempt):
            return refusal(403, "forbidden", "the sender may not push from this address")
        return refusal(401, "login", "the sender is not known", {"WWW-Authenticate": challenge(source)})

    @property
    def warnings(self) -> tuple[str, ...]:
        """Who failed lately."""
        since = self._ports.clock() - TOLD_FOR
        with self._lock:
            lately = [key for key, knocks in self._knocks.items() if knocks.at and knocks.at[-1] >= since]
        return tuple(
            f"fhir.sources.{source}: somebody at {peer or 'an unknown address'} pushes without the right proof"
            for source, peer in lately[-5:]
        )

    def _is_barred(self, source: str, peer: str, now: datetime) -> bool:
        with self._lock:
            knocks = self._knocks.get((source, peer))
            return knocks is not None and len(knocks.at) == TRIES and now - knocks.at[0] < WITHIN

    def _note(self, source: str, peer: str, now: datetime) -> None:
        with self._lock:
            knocks = self._knocks.setdefault((source, peer), _Knocks())
            self._knocks.move_to_end((source, peer))
            while len(self._knocks) > _MOST_PEERS:
                self._knocks.popitem(last=False)
            knocks.at.append(now)
            knocks.unwritten += 1
            if knocks.written_at is not None and now - knocks.written_at < WITHIN:
                return
            count, knocks.unwritten, knocks.written_at = knocks.unwritten, 0, now
        self._write(source, peer, count, now)

    def _write(self, source: str, peer: str, count: int, now: datetime) -> None:
        """One line a minute: a flood must not fill the audit trail."""
        event = AuditEvent(
            at=now,
            actor=f"fhir:{source}",
            action="sender.refuse",
            subject=f"source:{source}",
            detail=f"{peer}: {count} request(s) without the right proof",
        )
        try:
            with self._ports.database.write() as tx:
                audit.record(tx, event)
        except Unavailable:
            log.exception("fhir.not_audited", extra={"source": source})


def _is_only_elsewhere(source: Source, attempt: Attempt) -> bool:
    """Whether a way in fails by its address alone."""
    return any(
        all(holds(proof, attempt) for proof in way if not isinstance(proof, Addresses))
        for way in source.auth
        if any(isinstance(proof, Addresses) for proof in way)
    )
