"""News delivered to the systems that speak HL7 v2, and what their answers mean.

Source: HL7 v2.5.1 2.9.2 (processing the response), table 0008.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.hl7 import charset
from gateway.hl7.destination import Destination
from gateway.hl7.line import Line
from gateway.hl7.outbound import text
from gateway.model.delivery import Delivery
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Malformed, Refused, Unavailable
from gateway.model.ids import DeliveryId

_TAKEN = frozenset({"AA", "CA"})
_REJECTED = frozenset({"AR", "CR"})
_MOST_REASON = 300


@dataclass(slots=True, kw_only=True)
class _Peer:
    """A destination, its connection, and how often it has answered each delivery with an error."""

    destination: Destination
    line: Line
    turn: threading.Lock = field(default_factory=threading.Lock)
    errors: dict[DeliveryId, int] = field(default_factory=dict)


class Client:
    """Connections to the destinations. Safe to use from several threads; one destination never waits for another."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._peers = {one.name: _Peer(destination=one, line=Line(one)) for one in destinations}

    def send(self, delivery: Delivery) -> None:
        """The destination has taken the message (AA or CA).

        Raises Unavailable when trying again may help: no answer, or an error (AE, CE) that was answered less often
        than `max_errors`. Raises Refused, with what the other side said, when it never will: a rejection (AR, CR),
        the last error, or a character that the destination's character set lacks.
        """
        peer = self._peers.get(delivery.destination)
        if peer is None:
            raise Refused("the destination is not configured any more")
        control_id, raw = encoded(delivery.payload, peer.destination.charset)
        with peer.turn:
            answer = peer.line.exchange(raw, control_id)
            _judge(peer, delivery, answer)

    def close(self) -> None:
        """Nothing is sent any more, and no connection is open."""
        for peer in self._peers.values():
            peer.line.end()
        for peer in self._peers.values():
            with peer.turn:
                peer.line.close()


def encoded(payload: bytes, name: str) -> tuple[str, bytes]:
    """The message's control id and its bytes in the character set that MSH-18 names `name`.

    The set is chosen as the message leaves, so that a better choice in the configuration also helps what waits.
    Raises Refused when a character is not in it: nothing is replaced in silence.
    """
    try:
        lines = payload.decode().split("\r")
        control_id = read_er7(lines[0]).header.value(10)
    except (UnicodeDecodeError, Malformed):
        raise Refused("the message is none of HL7 v2") from None
    head = lines[0].split("|")
    head[17:] = [text(name)]
    lines[0] = "|".join(head)
    codec = charset.codec_of(name)
    return control_id, "\r".join(_strict(line, codec, name) for line in lines).encode(codec)


def _strict(line: str, codec: str, name: str) -> str:
    """The segment. Raises Refused with the field that the set cannot write."""
    for number, written in enumerate(line.split("|")):
        try:
            written.encode(codec)
        except UnicodeEncodeError:
            place = f"{line[:3]}-{number + line.startswith('MSH')}"
            raise Refused(
                f"{place}: a character is not in {name}; choose another charset and try again"
            ) from None
    return line


def _judge(peer: _Peer, delivery: Delivery, answer: Message) -> None:
    code = next(answer.named("MSA")).value(1)
    if code in _TAKEN:
        peer.errors.pop(delivery.id, None)
        return
    said = f"answered {code or 'nothing (MSA-1)'}: {'; '.join(_reasons(answer))}".rstrip(": ")[:_MOST_REASON]
    count = peer.errors.pop(delivery.id, 0) + 1
    if code in _REJECTED or count >= peer.destination.max_errors:
        raise Refused(said)
    peer.errors[delivery.id] = count
    raise Unavailable(said)


def _reasons(answer: Message) -> list[str]:
    """MSA-3, and of each ERR the place, the code's meaning and the text, in either form. Source: HL7 v2.5.1 2.14.5."""
    said = [one.value(3) for one in answer.named("MSA")]
    for error in answer.named("ERR"):
        place = "-".join(filter(None, (error.value(2, 1), error.value(2, 3))))
        old = " ".join(filter(None, (error.value(1, 1), error.value(1, 3), error.value(1, 4, 2))))
        said += [old, place, error.value(3, 2) or error.value(3), error.value(8)]
    return [one for one in dict.fromkeys(said) if one]
