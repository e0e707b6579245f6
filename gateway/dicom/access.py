"""Who may do what: the calling AE title, its address, the called AE title, and how often.

A peer that may do nothing else is still answered to C-ECHO: it is how people find out what is wrong.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.dicom.limits import Limits
from gateway.model.errors import Invalid
from gateway.model.network import Network, is_within, read_network
from gateway.model.tally import Tally

log = logging.getLogger(__name__)

MAX_AE_TITLE: Final = 16  # Source: DICOM PS3.5 table 6.2-1, AE
_REFUSALS = "refusals"
_MINUTE = timedelta(minutes=1)
_MAX_REMEMBERED = 10_000  # addresses; a peer that changes its own at will must not fill the memory


class Refusal(StrEnum):
    """Why an association, a connection or a part of one was refused."""

    UNKNOWN_AE = "the calling AE title is not known"
    OTHER_ADDRESS = "the calling AE title is not known at that address"
    CALLED_AE = "the called AE title is not ours"
    APPLICATION = "the application context is not DICOM's"
    FULL = "too many associations at once"
    PEER_FULL = "too many associations of that peer at once"
    TOO_OFTEN = "too many associations of that peer in a minute"
    TOO_MANY_CONNECTIONS = "too many connections at once"
    TLS = "no TLS connection could be agreed on"
    PDU_TOO_LONG = "a PDU is longer than is read"
    OBJECT_TOO_LONG = "an object is larger than is stored"


REJECTIONS: Final[Mapping[Refusal, tuple[int, int, int]]] = {
    Refusal.UNKNOWN_AE: (1, 1, 3),
    Refusal.OTHER_ADDRESS: (1, 1, 3),
    Refusal.CALLED_AE: (1, 1, 7),
    Refusal.APPLICATION: (1, 1, 2),
    Refusal.FULL: (2, 3, 2),
    Refusal.PEER_FULL: (2, 3, 2),
    Refusal.TOO_OFTEN: (2, 3, 1),
}
"""Result, source and reason of the A-ASSOCIATE-RJ. Source: DICOM PS3.8 table 9-21."""

ECHO_IS_ANSWERED: Final = frozenset({Refusal.UNKNOWN_AE, Refusal.OTHER_ADDRESS, Refusal.CALLED_AE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A peer that is expected: an AE title, addresses, or an AE title at addresses."""

    ae_title: str | None  # None: any
    networks: tuple[Network, ...]  # empty: anywhere

    def is_at(self, address: str) -> bool:
        """Whether the address is one of its own."""
        return not self.networks or is_within(address, self.networks)


def read_known(text: str) -> Known:
    """The peer that `TITLE`, `TITLE@ADDRESS` or `*@ADDRESS` names; an address may be a network, 10.1.0.0/16.

    Raises Invalid when it names none.
    """
    title, _, address = text.partition("@")
    if not title or len(title) > MAX_AE_TITLE or (title == "*" and not address):
        raise Invalid("a peer is TITLE, TITLE@ADDRESS or *@ADDRESS")
    networks = (read_network(address, is_exact=True),) if address or text.endswith("@") else ()
    return Known(ae_title=None if title == "*" else title, networks=networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who is let in."""

    known: tuple[Known, ...] = ()
    only_known: bool = False
    called_ae: str | None = None  # what a peer must call us; None: whatever it likes


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A request for an association, as far as access goes."""

    calling_ae: str
    called_ae: str
    address: str
    is_dicom: bool  # whether the application context is DICOM's
    associations: int  # at once, this one included
    of_its_own: int  # of its address, this one included


class Access:
    """Judges who asks, remembers how often, and counts what was refused."""

    def __init__(
        self, admission: Admission, limits: Limits, clock: Callable[[], datetime], tally: Tally | None = None
    ) -> None:
        self.admission = admission
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, deque[datetime]] = {}
        self._tally = tally or Tally()

    @property
    def refused(self) -> Mapping[Refusal, int]:
        """How often what was refused since the start."""
        return {Refusal[name.upper()]: count for (name,), count in self._tally.counts(_REFUSALS).items()}

    def judge(self, caller: Caller) -> Refusal | None:
        """Why the caller is refused; None when it is welcome."""
        limits = self.limits
        if self._is_too_often(caller.address):
            return Refusal.TOO_OFTEN
        if caller.associations > limits.associations:
            return Refusal.FULL
        if caller.of_its_own > limits.associations_per_peer:
            return Refusal.PEER_FULL
        if not caller.is_dicom:
            return Refusal.APPLICATION
        if self.admission.called_ae is not None and caller.called_ae != self.admission.called_ae:
            return Refusal.CALLED_AE
        return self._stranger(caller)

    def refuse(self, refusal: Refusal, *, peer: str, address: str) -> None:
        """The refusal is logged and counted."""
        self._tally.count(_REFUSALS, refusal.name.lower())
        log.warning("dicom.refused", extra={"reason": str(refusal), "peer": peer, "address": address})

    def _stranger(self, caller: Caller) -> Refusal | None:
        """A title that is known somewhere is refused elsewhere; a title nobody knows, where only known ones may."""
        named = [known for known in self.admission.known if known.ae_title == caller.calling_ae]
        anybody = [known for known in self.admission.known if known.ae_title is None]
        if any(known.is_at(caller.address) for known in (*named, *anybody)):
            return None
        if named:
            return Refusal.OTHER_ADDRESS
        return Refusal.UNKNOWN_AE if self.admission.only_known else None

    def _is_too_often(self, address: str) -> bool:
        now = self._clock()
        with self._lock:
            if len(self._asked) > _MAX_REMEMBERED:
                self._asked = {a: times for a, times in self._asked.items() if now - times[-1] < _MINUTE}
            times = self._asked.setdefault(address, deque(maxlen=self.limits.associations_per_minute + 1))
            times.append(now)
            while now - times[0] >= _MINUTE:
                times.popleft()
            return len(times) > self.limits.associations_per_minute
