"""What messages refer to and do not bring along is read back from the record system they came from."""

from collections.abc import Callable

import httpx

from gateway.fhir.exchange import Connection
from gateway.fhir.holding import held_of
from gateway.fhir.outcome import MEDIA_TYPE
from gateway.fhir.proving import Place, prover, trust_of
from gateway.fhir.reader import Reader
from gateway.flow.ports import Clock
from gateway.model.errand import Errand, ErrandKind
from gateway.model.errors import Refused
from gateway.model.resource import Held

TIMEOUT_S = 10.0


def reader_of(
    place: Place, *, clock: Clock, new_id: Callable[[], str], timeout_s: float = TIMEOUT_S
) -> Reader:
    """What reads at the place. Raises Invalid for a certificate of no use."""
    trust = trust_of(place.certificate)
    client = httpx.Client(
        headers={"Accept": MEDIA_TYPE},
        auth=prover(place, trust=trust, timeout_s=timeout_s, clock=clock, new_id=new_id),
        timeout=timeout_s,
        verify=trust,
        follow_redirects=False,  # a credential goes to its own server alone
        trust_env=False,
    )
    return Reader(place.url, Connection(client, timeout_s))


class ReadingBack:
    """Does the errands of one source."""

    def __init__(self, source: str, reader: Reader, clock: Clock) -> None:
        self._source = source
        self._reader = reader
        self._clock = clock

    def __call__(self, errand: Errand) -> tuple[Held, ...]:
        """What was read, as it is held. Raises NotFound, Refused, Unavailable."""
        if errand.kind is not ErrandKind.READ:
            raise Refused(f"no way is known to do an errand of the kind {errand.kind}")
        held = held_of(self._source, self._reader.read(errand.target), self._clock())
        if held is None:
            raise Refused("answered with a resource that has no id")
        return (held,)

    def close(self) -> None:
        """No connection is open any more."""
        self._reader.close()
