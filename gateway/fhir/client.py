"""What is owed to FHIR servers, written there, so that what is sent twice is there once."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.fhir import messages_out, order_status, strategies
from gateway.fhir.destination import Destination, Write
from gateway.fhir.discovery import Offers, chosen, look
from gateway.fhir.entries import without_patient
from gateway.fhir.exchange import Connection
from gateway.fhir.imaging_study import KIND
from gateway.fhir.proving import Place, connection_to
from gateway.fhir.talk import Talk
from gateway.flow.ports import Ports
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable

OFFERS_LAST_S = 3600.0
"""So long counts what a server said that it can do."""

_TURNS = 64
_WAYS: Final[dict[Write, Callable[[Talk, Delivery], None]]] = {
    Write.TRANSACTION: strategies.transaction,
    Write.CONDITIONAL_UPDATE: strategies.conditional_update,
    Write.CONDITIONAL_CREATE: strategies.conditional_create,
    Write.SEARCH_THEN: strategies.search_then,
    Write.PUT_ID: strategies.put_id,
    Write.MESSAGE: messages_out.message,
    Write.WEBHOOK: messages_out.webhook,
}


@dataclass(slots=True, kw_only=True)
class _Peer:
    """A destination, the connections to it, and what it said it can do."""

    destination: Destination
    connection: Connection
    turn: threading.Lock = field(default_factory=threading.Lock)
    turns: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(_TURNS))
    )
    offers: Offers | None = None
    asked_at: float = 0.0


class Client:
    """Connections to the destinations. Safe to use from several threads."""

    def __init__(
        self,
        destinations: Iterable[Destination],
        ports: Ports,
        timeout_s: float = 10,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` bounds connecting and each wait for bytes. Raises Invalid for a certificate of no use."""
        self._ports = ports
        self._monotonic = monotonic
        self._peers = {
            one.name: _Peer(
                destination=one,
                connection=connection_to(
                    Place(url=one.url, proof=one.auth, certificate=one.certificate),
                    timeout_s,
                    clock=ports.clock,
                    new_id=ports.new_uid,
                    monotonic=monotonic,
                ),
            )
            for one in destinations
        }

    def send(self, delivery: Delivery) -> None:
        """The destination has the thing in the state of the delivery.

        Raises Unavailable when trying again may help, Refused with what the server said when it never will.
        """
        peer = self._peers.get(delivery.destination)
        if peer is None:
            raise Refused("the destination is not configured any more")
        talk = Talk(
            destination=peer.destination,
            connection=peer.connection,
            ports=self._ports,
            turns=peer.turns,
            until=self._monotonic() + peer.destination.longest_send.total_seconds(),
            monotonic=self._monotonic,
        )
        try:
            self._write(peer, talk, delivery)
        except Unavailable as error:
            said = without_patient(str(error), delivery)
            raise Unavailable(said, retry_after_s=error.retry_after_s) from None
        except Refused as error:
            raise Refused(without_patient(str(error), delivery)) from None

    def offers(self, name: str) -> Offers:
        """What the destination says that it can do, asked for at most once an hour. Raises Unavailable, Refused."""
        peer = self._peers[name]
        with peer.turn:
            if peer.offers is None or self._monotonic() > peer.asked_at + OFFERS_LAST_S:
                peer.offers = look(peer.destination, peer.connection)
                peer.asked_at = self._monotonic()
            return peer.offers

    def close(self) -> None:
        """No connection is open any more."""
        for peer in self._peers.values():
            peer.connection.close()

    def _write(self, peer: _Peer, talk: Talk, delivery: Delivery) -> None:
        if delivery.kind == KIND:
            _WAYS[self._way(peer)](talk, delivery)
        elif order_status.is_status(delivery):
            order_status.write(talk, delivery)
        else:
            raise Refused("a FHIR destination takes studies and the state of orders only")

    def _way(self, peer: _Peer) -> Write:
        write = peer.destination.write
        return chosen(self.offers(peer.destination.name)) if write is Write.AUTO else write
