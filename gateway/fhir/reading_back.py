"""What messages refer to, name or leave open is read from the record system they came from."""

from collections.abc import Callable
from datetime import timedelta

import httpx

from gateway.fhir.asked import DELETE
from gateway.fhir.auth import Source
from gateway.fhir.exact import encode_exact
from gateway.fhir.exchange import Connection
from gateway.fhir.holding import held_of, known_to
from gateway.fhir.interpret import understand
from gateway.fhir.outcome import MEDIA_TYPE
from gateway.fhir.polling import poll
from gateway.fhir.proving import Place, prover, trust_of
from gateway.fhir.reader import Reader
from gateway.flow.follow import reached, since, stopped
from gateway.flow.ports import Clock, Ports
from gateway.flow.receive import receive
from gateway.mapping.registry import Modules
from gateway.model.errand import Errand, ErrandKind
from gateway.model.errors import NotFound, Refused, Unavailable
from gateway.model.message import Inbound, Protocol
from gateway.model.resource import Held

TIMEOUT_S = 10.0


def connection_to(
    place: Place, *, clock: Clock, new_id: Callable[[], str], timeout_s: float = TIMEOUT_S
) -> Connection:
    """What asks at the place. Raises Invalid for a certificate of no use."""
    trust = trust_of(place.certificate)
    client = httpx.Client(
        headers={"Accept": MEDIA_TYPE},
        auth=prover(place, trust=trust, timeout_s=timeout_s, clock=clock, new_id=new_id),
        timeout=timeout_s,
        verify=trust,
        follow_redirects=False,  # a credential goes to its own server alone
        trust_env=False,
    )
    return Connection(client, timeout_s)


class ReadingBack:
    """Does the errands of one source."""

    def __init__(
        self,
        source: Source,
        reader: Reader,
        ports: Ports,
        modules: Callable[[], Modules],
        *,
        first_poll: timedelta = timedelta(days=1),
    ) -> None:
        """`first_poll` is how far back the first poll of the source looks."""
        self._source = source
        self._reader = reader
        self._ports = ports
        self._modules = modules
        self._first_poll = first_poll

    def __call__(self, errand: Errand) -> tuple[Held, ...]:
        """What was read, as it is held. Raises NotFound, Refused, Unavailable.

        What a notification named, and what a poll finds, comes in as messages of its own.
        """
        match errand.kind:
            case ErrandKind.FETCH:
                self._fetch(errand.target)
                return ()
            case ErrandKind.POLL:
                self._poll()
                return ()
            case ErrandKind.READ:
                held = held_of(self._source.name, self._reader.read(errand.target), self._ports.clock())
                if held is None:
                    raise Refused("answered with a resource that has no id")
                if not _has_name(held, errand.target):
                    raise Refused("answered with one that does not have that identifier")
                return (held,)

    def _fetch(self, target: str) -> None:
        """What the server has no more was taken back. Source: FHIR R4 http.html, delete."""
        try:
            found = self._reader.read(target)
        except NotFound:
            if "?" in target:
                raise
            self._take(b"", f"{DELETE} {target}")
        else:
            self._take(encode_exact(found))

    def _poll(self) -> None:
        source = self._source.name
        if not self._source.polls:
            raise Refused(f"nothing says what to look for: set fhir.sources.{source}.poll.criteria")
        try:
            poll(
                self._reader,
                self._source.polls,
                since(self._ports, source, self._first_poll),
                take=self._take,
                reached=lambda cursor, is_done: reached(self._ports, source, cursor, is_done=is_done),
            )
        except (NotFound, Refused, Unavailable) as error:
            stopped(self._ports, source, str(error))
            raise

    def _take(self, raw: bytes, request: str = "") -> None:
        """It is received as if the source had pushed it."""
        source, ports = self._source, self._ports
        at = ports.clock()
        known = known_to(ports.database, source.name, stale_before=source.stale_before(at))
        understood = understand(raw, source, self._modules(), request=request, known=known, at=at)
        inbound = Inbound(protocol=Protocol.FHIR, source=source.name, peer="", raw=raw, request=request)
        receive(ports, inbound, lambda _: understood.interpretation, lambda _: b"")

    def close(self) -> None:
        """No connection is open any more."""
        self._reader.close()


def _has_name(held: Held, target: str) -> bool:
    """Whether the resource has the identifier that was searched for, if one was; without a system, in any."""
    _, is_search, token = target.partition("?identifier=")
    system, _, value = token.rpartition("|")
    return not is_search or any(own == value and system in ("", where) for where, own in held.identifiers)
