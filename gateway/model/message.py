"""A message as it came in, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.errand import Wanted
from gateway.model.following import Heard
from gateway.model.ids import MessageId
from gateway.model.order import Mapped
from gateway.model.resource import Held


class Protocol(StrEnum):
    """How a message reached us."""

    HL7V2 = "hl7v2"
    FHIR = "fhir"


class MessageState(StrEnum):
    """What became of a message; the answer we gave is another matter (`Message.ack`)."""

    RECEIVED = "received"  # kept and answered; what is in it comes next
    MAPPED = "mapped"  # at least one order was scheduled, changed or taken back
    HELD = "held"  # a person must look; every order in it that is in doubt waits
    SKIPPED = "skipped"  # nothing in it concerns us
    FAILED = "failed"  # refused: unreadable, unknown type, or a rejecting fault
    DISCARDED = "discarded"  # a person put it away, with a reason
    SUPERSEDED = "superseded"  # an edited copy took its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """What arrived, byte for byte."""

    protocol: Protocol
    source: str  # the listener's or FHIR source's name
    peer: str  # address of the other side
    raw: bytes
    request: str = ""  # what the request asked beside its body: "DELETE ServiceRequest/9"; "" for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a message is found by. Empty text means that it has none."""

    control_id: str = ""  # MSH-10; for FHIR the Bundle or event id
    sender: str = ""  # MSH-3|MSH-4; for FHIR the source
    message_type: str = ""  # "ORM^O01", "ServiceRequest"
    version: str = ""
    sent_at: str = ""  # MSH-7 as it stood


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """What the edge and the mapping understood of a message. `failure` is empty when it could be read.

    `failure_code` is of HL7 table 0357: "207" is our own fault; "100" to "103" and "200" to "206" are the peer's.
    """

    keys: Keys
    mapped: Mapped | None
    failure: str = ""
    failure_code: str = ""
    warnings: tuple[str, ...] = ()
    resources: tuple[Held, ...] = ()  # what it brought, to be held
    wanted: tuple[Wanted, ...] = ()  # what must be read from its sender
    doubts: tuple[str, ...] = ()  # what a person must look at, beside the orders in it
    is_event: bool = False  # its control id names one event for good: it again is no news, whatever its bytes
    undated: tuple[Held, ...] = ()  # the orders in it that no name and no version tells from what came before
    heard: Heard | None = None  # what a notification says of the subscription it comes by


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the gateway did with a message, from which the edge makes its answer."""

    message_id: MessageId
    state: MessageState
    interpretation: Interpretation
    reason: str = ""  # why it is held, failed or skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A stored message."""

    id: MessageId
    protocol: Protocol
    source: str
    peer: str
    received_at: datetime
    raw: bytes
    keys: Keys
    state: MessageState
    reason: str  # why it is held, failed, skipped or discarded
    answer: bytes  # what we answered, byte for byte
    module: str  # "orders-hl7@ab12cd"; empty when none matched
    accession: str
    patient_id: str
    placer: str
    filler: str
    warnings: tuple[str, ...] = ()  # what was odd about it and did not matter, such as its character set
    request: str = ""  # what came with it that is not in its bytes: "DELETE ServiceRequest/9"
    edited_from: MessageId | None = None  # the message this is an edited copy of; None for one that came in
