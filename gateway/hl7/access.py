"""Who may connect to a listener: by address, and by the subject of the client's certificate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.model.connection import Subject, subject_in
from gateway.model.network import Network, is_within

TRIES = 10
TRIES_WITHIN = timedelta(minutes=5)
_MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """An allow-list. An empty part lets everybody in."""

    networks: tuple[Network, ...] = ()
    subjects: tuple[Subject, ...] = ()

    def admits_address(self, address: str) -> bool:
        """Whether a peer of that address may connect; what is no address may not."""
        return not self.networks or is_within(address, self.networks)

    def admits_subject(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether the owner of a verified certificate, as `SSLSocket.getpeercert` tells it, may connect."""
        if not self.subjects:
            return True
        owned = subject_in(certificate)
        return any(subject <= owned for subject in self.subjects)


class Tries:
    """Failed tries to prove oneself, by address. For one thread; it forgets with the process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._failed: dict[str, list[datetime]] = {}

    def is_barred(self, address: str) -> bool:
        """Whether that address failed so often lately that it is not listened to."""
        return len(self._recent(address)) >= TRIES

    def note(self, address: str) -> None:
        """One more failed try."""
        recent = self._recent(address)
        self._failed.pop(address, None)  # so that the oldest stand first
        self._failed[address] = [*recent[1 - TRIES :], self._clock()]
        if len(self._failed) > _MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]

    def _recent(self, address: str) -> list[datetime]:
        since = self._clock() - TRIES_WITHIN
        return [at for at in self._failed.get(address, ()) if at > since]
