"""Messages in, answers out: take a batch apart, read, map, keep, acknowledge."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol as Shape

from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.hl7 import charset
from gateway.hl7.ack import INTERNAL
from gateway.hl7.answering import OUR_FAULT, Manner, render_answers, render_our_fault
from gateway.hl7.batch import Part, split
from gateway.hl7.framing import End
from gateway.hl7.measured import note_answer
from gateway.hl7.reading import SEQUENCE, TYPE, Expected, Reading, fault_of, read
from gateway.mapping.registry import Modules
from gateway.model.errors import Unavailable
from gateway.model.message import Inbound, Interpretation, Protocol, Receipt
from gateway.model.order import Fault

log = logging.getLogger(__name__)

_CONTROL_ID_LENGTH = 18  # Source: HL7 v2.5.1 2.14.9.10, twenty, of which a second answer takes two
_UNMAPPED = "MSH-9 (message type): no mapping handles this message type"


class Receive(Shape):
    """The answer to a frame. What it acknowledges is durable when it returns."""

    def __call__(self, raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        """`raw` is what stood in the frame, `peer` the other side's address, `end` how the frame ended.

        The answer holds one acknowledgement after another, each beginning with MSH; none when the sender wants none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one listener takes, and how it answers."""

    expected: Expected = field(default_factory=Expected)
    is_hold_an_error: bool = False  # a held message is answered AE
    is_deferred: bool = False  # the answer leaves when the bytes are durable; the message is mapped later


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back for a frame. `is_kept` is False when nothing of it could be stored."""

    answer: bytes
    is_kept: bool


class Inlet:
    """One listener's way into the gateway, whatever carries the bytes. It is a `Receive`."""

    def __init__(
        self,
        ports: Ports,
        modules: Callable[[], Modules],
        source: str,
        rules: Rules,
        arrived: Callable[[], object],
    ) -> None:
        self._arrived = arrived
        self._ports = ports
        self._modules = modules
        self._source = source
        self._rules = rules

    def __call__(self, raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        """See `Receive`."""
        return self.reply(raw, peer, end).answer

    def reply(self, raw: bytes, peer: str, end: End = End.WHOLE) -> Reply:
        """The answers to all messages of the frame, in order. Of a batch cut short the last message is damaged."""
        began = perf_counter()
        parts = (Part(raw=raw),) if end is End.OVERSIZED else split(raw)
        if len(parts) > 1:
            self._note_batch(parts)
        replies = [
            self._reply(part, peer, end if number == len(parts) else End.WHOLE)
            for number, part in enumerate(parts, start=1)
        ]
        answer = b"".join(reply.answer for reply in replies)
        note_answer(self._ports.tally, self._source, answer, perf_counter() - began)
        return Reply(
            answer=answer,
            is_kept=any(reply.is_kept for reply in replies),
        )

    def _reply(self, part: Part, peer: str, end: End) -> Reply:
        inbound = Inbound(protocol=Protocol.HL7V2, source=self._source, peer=peer, raw=part.raw)
        reading = read(part.raw, end, self._rules.expected)
        manner = Manner(
            new_control_id=self._ports.new_uid()[-_CONTROL_ID_LENGTH:],
            at=self._ports.clock().astimezone(self._ports.zone),
            is_hold_an_error=self._rules.is_hold_an_error,
            remarks=part.remarks,
        )
        exchange = _Exchange(self._ports, self._modules, self._rules, reading, manner, part.refusal)
        reply = exchange.reply(inbound)
        if self._rules.is_deferred:
            self._ports.database.once_durable(self._arrived)
        return reply

    def _note_batch(self, parts: tuple[Part, ...]) -> None:
        remarks = tuple(dict.fromkeys(remark for part in parts for remark in part.remarks))
        extra = {"source": self._source, "messages": len(parts), "remarks": remarks}
        log.log(logging.WARNING if remarks else logging.INFO, "hl7.batch", extra=extra)


def receiver(
    ports: Ports,
    modules: Callable[[], Modules],
    source: str,
    rules: Rules = Rules(),
    arrived: Callable[[], object] = lambda: None,
) -> Inlet:
    """What a listener calls with each frame. `source` is the listener's name in the configuration.

    `modules` is asked anew for each message, so that changed mappings count at once. `arrived` is called when
    a message was kept to be mapped later.
    Raises Invalid when Python does not know the rules' fallback character set.
    """
    charset.check_codec(rules.expected.fallback_charset)
    return Inlet(ports, modules, source, rules, arrived)


def interpret(reading: Reading, modules: Modules) -> Interpretation:
    """What the mapping understood of a message that was read, or why it understood nothing."""
    if reading.message is None or reading.fault is not None:
        return failure(reading, reading.fault or fault_of(SEQUENCE, "the message cannot be read"))
    mapped = modules.map_hl7(reading.message)
    if mapped.module is None:
        return failure(reading, fault_of(TYPE, _UNMAPPED))
    return Interpretation(keys=reading.keys, mapped=mapped, warnings=reading.warnings)


def failure(reading: Reading, fault: Fault) -> Interpretation:
    """A message of which nothing is taken."""
    return Interpretation(
        keys=reading.keys, mapped=None, failure=fault.text, failure_code=fault.code, warnings=reading.warnings
    )


class _Exchange:
    """One message on its way through the gateway."""

    def __init__(
        self,
        ports: Ports,
        modules: Callable[[], Modules],
        rules: Rules,
        reading: Reading,
        manner: Manner,
        refusal: str,
    ) -> None:
        self._ports = ports
        self._modules = modules
        self._rules = rules
        self._reading = reading
        self._manner = manner
        self._refusal = refusal

    def reply(self, inbound: Inbound) -> Reply:
        """The answer. AE with 207, when the fault is ours: then the sender keeps the message and sends it again."""
        try:
            return self._received(inbound, self._interpret)
        except Unavailable as error:
            log.error("hl7.unavailable", extra={"source": inbound.source, "reason": str(error)})
        except Exception:
            log.exception("hl7.failed", extra={"source": inbound.source})
            return self._kept_as_failed(inbound)
        return self._our_fault()

    def _kept_as_failed(self, inbound: Inbound) -> Reply:
        """The answer of a message that our own error stopped; it is listed as failed, if that can be stored."""
        broken = failure(self._reading, fault_of(INTERNAL, OUR_FAULT))
        try:
            return self._received(inbound, lambda _: broken)
        except Exception:
            log.exception("hl7.not_kept", extra={"source": inbound.source})
            return self._our_fault()

    def _received(self, inbound: Inbound, interpret: Callable[[bytes], Interpretation]) -> Reply:
        answered = receive(self._ports, inbound, interpret, self._render, is_deferred=self._rules.is_deferred)
        log.info(
            "hl7.answered",
            extra={
                "source": inbound.source,
                "message_id": answered.message_id,
                "state": answered.state,
                "is_repeat": answered.is_repeat,
            },
        )
        return Reply(answer=answered.answer, is_kept=True)

    def _interpret(self, _raw: bytes) -> Interpretation:
        reading = self._reading
        if self._refusal:
            return failure(reading, fault_of(SEQUENCE, self._refusal))
        if self._rules.is_deferred and reading.message is not None and reading.fault is None:
            return Interpretation(keys=reading.keys, mapped=None, warnings=reading.warnings)
        return interpret(reading, self._modules())

    def _render(self, receipt: Receipt) -> bytes:
        return render_answers(self._reading, receipt, self._manner)

    def _our_fault(self) -> Reply:
        return Reply(answer=render_our_fault(self._reading, self._manner), is_kept=False)
