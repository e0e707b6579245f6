"""One message in, one answer out: decode, read, map, keep, acknowledge."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Shape

from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.hl7 import charset
from gateway.hl7.ack import INTERNAL, AckCode, render_ack
from gateway.hl7.framing import End
from gateway.mapping.registry import Modules
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Malformed, Unavailable
from gateway.model.message import Inbound, Interpretation, Keys, MessageState, Protocol, Receipt
from gateway.model.order import Fault, Place, Severity

log = logging.getLogger(__name__)

_SEQUENCE, _TABLE, _TYPE = "100", "103", "200"  # Source: HL7 table 0357
_FLAWS = {
    End.TRUNCATED: (_SEQUENCE, "the message was cut short: the next one began before it ended"),
    End.OVERSIZED: (INTERNAL, "the message is longer than this listener takes"),
}
_FIELDS = {_TABLE: 18, _TYPE: 9}  # the field of MSH that is to blame
_MAX_KEY = 200  # longer ones would not fit an index
_CONTROL_ID_LENGTH = 20  # Source: HL7 v2.5.1 2.14.9.10
_RANKS = {Severity.REJECT: 0, Severity.HOLD: 1, Severity.WARN: 2}
_OUR_FAULT = "the gateway could not take the message; send it again later"
_UNMAPPED = "MSH-9 (message type): no mapping handles this message type"
_HELD = "kept; a person will look at it"


class Receive(Shape):
    """The answer to a message. What it acknowledges is durable when it returns."""

    def __call__(self, raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        """`raw` is what stood in the frame, `peer` the other side's address, `end` how the frame ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What could be read. `message` is None without a readable MSH; `fault` is None when all is well."""

    message: Message | None
    codec: str
    warnings: tuple[str, ...] = ()
    fault: Fault | None = None


def receiver(
    ports: Ports, modules: Callable[[], Modules], source: str, *, fallback_charset: str = "cp1252"
) -> Receive:
    """What a listener calls with each message. `source` is the listener's name in the configuration.

    `modules` is asked anew for each message, so that changed mappings count at once. `fallback_charset` is the
    Python codec for senders whose MSH-18 is empty or wrong.
    Raises Invalid when Python does not know `fallback_charset`.
    """
    charset.check_codec(fallback_charset)

    def receive_one(raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        inbound = Inbound(protocol=Protocol.HL7V2, source=source, peer=peer, raw=raw)
        return _Exchange(ports, modules, _read(raw, end, fallback_charset)).answer(inbound)

    return receive_one


def _read(raw: bytes, end: End, fallback: str) -> _Reading:
    """What can be read of the message; never raises for bad bytes."""
    if end is not End.WHOLE:
        return _Reading(message=_salvaged(raw), codec="latin-1", fault=_fault(*_FLAWS[end]))
    try:
        decoded = charset.decode(raw, fallback=fallback)
    except Malformed as error:
        return _Reading(message=_salvaged(raw), codec="latin-1", fault=_fault(_TABLE, str(error)))
    try:
        message = read_er7(decoded.text, hex_text=charset.hex_reader(decoded.codec))
    except Malformed as error:
        return _Reading(
            message=None,
            codec=decoded.codec,
            warnings=decoded.warnings,
            fault=_fault(_SEQUENCE, str(error)),
        )
    return _Reading(message=message, codec=decoded.codec, warnings=(*decoded.warnings, *message.warnings))


def _salvaged(raw: bytes) -> Message | None:
    """The MSH alone of a message that cannot be read whole, one character a byte; None when there is none."""
    text = raw.lstrip(b"\xff\xfe").replace(b"\0", b"").decode("latin-1")
    head = next(iter(text.splitlines()), "")
    try:
        return read_er7(head)
    except Malformed:
        return None


class _Exchange:
    """One message on its way through the gateway."""

    def __init__(self, ports: Ports, modules: Callable[[], Modules], reading: _Reading) -> None:
        self._ports = ports
        self._modules = modules
        self._reading = reading

    def answer(self, inbound: Inbound) -> bytes:
        """The answer. AE with 207, when the fault is ours: then the sender keeps the message and sends it again."""
        try:
            return self._received(inbound, self._interpret)
        except Unavailable as error:
            log.error("hl7.unavailable", extra={"source": inbound.source, "reason": str(error)})
        except Exception:
            log.exception("hl7.failed", extra={"source": inbound.source})
            return self._kept_as_failed(inbound)
        return self._our_fault()

    def _kept_as_failed(self, inbound: Inbound) -> bytes:
        """The answer of a message that our own error stopped; it is listed as failed, if that can be stored."""
        try:
            return self._received(inbound, lambda _: self._failure(_fault(INTERNAL, _OUR_FAULT)))
        except Exception:
            log.exception("hl7.not_kept", extra={"source": inbound.source})
            return self._our_fault()

    def _received(self, inbound: Inbound, interpret: Callable[[bytes], Interpretation]) -> bytes:
        answered = receive(self._ports, inbound, interpret, self._render)
        log.info(
            "hl7.answered",
            extra={
                "source": inbound.source,
                "message_id": answered.message_id,
                "state": answered.state,
                "is_repeat": answered.is_repeat,
            },
        )
        return answered.answer

    def _interpret(self, _raw: bytes) -> Interpretation:
        reading = self._reading
        if reading.message is None or reading.fault is not None:
            return self._failure(reading.fault or _fault(_SEQUENCE, "the message cannot be read"))
        mapped = self._modules().map_hl7(reading.message)
        if mapped.module is None:
            return self._failure(_fault(_TYPE, _UNMAPPED))
        return Interpretation(keys=_keys(reading.message), mapped=mapped, warnings=reading.warnings)

    def _failure(self, fault: Fault) -> Interpretation:
        return Interpretation(
            keys=_keys(self._reading.message),
            mapped=None,
            failure=fault.text,
            failure_code=fault.code,
            warnings=self._reading.warnings,
        )

    def _render(self, receipt: Receipt) -> bytes:
        """The answer in the end: AR when it is not for us, AE when it cannot be done, else AA."""
        interpretation = receipt.interpretation
        if interpretation.failure:
            is_ours = interpretation.failure_code == INTERNAL and self._reading.fault is None
            code = AckCode.ERROR if is_ours else AckCode.REJECTED
            return self._acknowledge(code, (_fault(interpretation.failure_code, interpretation.failure),))
        code = AckCode.ERROR if receipt.state is MessageState.FAILED else AckCode.ACCEPTED
        text = {MessageState.HELD: _HELD, MessageState.SKIPPED: receipt.reason}.get(receipt.state, "")
        return self._acknowledge(code, _worst_first(interpretation), text)

    def _our_fault(self) -> bytes:
        return self._acknowledge(AckCode.ERROR, (_fault(INTERNAL, _OUR_FAULT),))

    def _acknowledge(self, code: AckCode, faults: tuple[Fault, ...], text: str = "") -> bytes:
        return render_ack(
            self._reading.message,
            code,
            control_id=self._ports.new_uid()[-_CONTROL_ID_LENGTH:],
            at=self._ports.clock().astimezone(self._ports.zone),
            codec=self._reading.codec,
            text=text,
            faults=faults,
        )


def _worst_first(interpretation: Interpretation) -> tuple[Fault, ...]:
    """The faults of all orders, each once."""
    requests = interpretation.mapped.requests if interpretation.mapped else ()
    faults = dict.fromkeys(fault for request in requests for fault in request.faults)
    return tuple(sorted(faults, key=lambda fault: _RANKS[fault.severity]))


def _fault(code: str, text: str) -> Fault:
    """A fault of the whole message; its place is the field of MSH that is to blame, if one is."""
    field = _FIELDS.get(code)
    place = Place(segment="MSH", segment_repetition=1, field=field) if field else None
    return Fault(severity=Severity.REJECT, keyword="", place=place, code=code, text=text, at="")


def _keys(message: Message | None) -> Keys:
    if message is None:
        return Keys()
    head = message.header
    kind = "^".join((head.value(9, 1), head.value(9, 2))).rstrip("^")
    return Keys(
        control_id=_key(head.value(10)),
        sender=_key(f"{head.value(3)}|{head.value(4)}"),
        message_type=_key(kind),
        version=_key(head.value(12)),
        sent_at=_key(head.raw(7)),
    )


def _key(text: str) -> str:
    """`text` on one line and short enough for an index."""
    return " ".join(text.split())[:_MAX_KEY]
