"""Which acknowledgements a message gets: original mode, or what MSH-15 and MSH-16 ask for.

| MSH-15 | MSH-16 | accept (CA, CE, CR) | application (AA, AE, AR) |
|---|---|---|---|
| blank | blank | no | always (original mode) |
| AL, NE, ER, SU | any | as it says | as MSH-16 says, blank is NE; none after CE or CR |
| blank | AL, NE, ER, SU | no | as it says |

Both leave after the commit, the accept acknowledgement first. A code that HL7 does not know counts as AL: an answer
too many is ignored, one too few stops a queue.
Source: HL7 v2.5.1 2.9.2 and 2.9.3, 2.14.9.15, 2.14.9.16, tables 0008 and 0155.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from gateway.flow.receive import REUSED
from gateway.hl7 import charset
from gateway.hl7.ack import INTERNAL, AckCode, render_ack
from gateway.hl7.reading import SEQUENCE, TABLE, Reading, fault_of
from gateway.model.er7 import NULL, Message
from gateway.model.message import MessageState, Receipt
from gateway.model.order import Fault, Place, Severity

OUR_FAULT = "the gateway could not take the message; send it again later"
_HELD = "kept; a person will look at it"
_RECEIVED = "kept; it is mapped later"
_UNDECIDED = (
    "204"  # a hold that no fault explains: an order or patient that is not known here. Source: table 0357
)
_NOT_FOR_US = frozenset({"200", "201", "202", "203", "204"})  # type, event, processing id, version, sender
_RANKS = {Severity.REJECT: 0, Severity.HOLD: 1, Severity.WARN: 2}
_BETWEEN = re.compile(rb"(?<=\r)(?=MSH)")


class When(StrEnum):
    """When an acknowledgement is wanted. Source: HL7 table 0155."""

    ALWAYS = "AL"
    NEVER = "NE"
    ON_ERROR = "ER"
    ON_SUCCESS = "SU"

    def holds(self, *, is_good: bool) -> bool:
        """Whether an answer that is good, or bad, is wanted."""
        return self is When.ALWAYS or self is (When.ON_SUCCESS if is_good else When.ON_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a sender in enhanced mode wants to hear."""

    accept: When
    application: When


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """What both acknowledgements would say: whether we have the message, and what became of it."""

    accept: AckCode
    application: AckCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What every acknowledgement of one message has in common."""

    new_control_id: str
    at: datetime  # aware
    is_hold_an_error: bool = False  # AE for a held message, for senders whose people watch their own queue
    remarks: tuple[str, ...] = ()  # what is odd about the batch around the message


def read_wanted(message: Message | None) -> Wanted | None:
    """What MSH-15 and MSH-16 ask for; None is original mode."""
    if message is None:
        return None
    accept, application = (_when(message.header.value(number)) for number in (15, 16))
    if accept is None and application is None:
        return None
    return Wanted(accept=accept or When.NEVER, application=application or When.NEVER)


def chosen(wanted: Wanted | None, codes: Codes) -> tuple[AckCode, ...]:
    """The codes of the acknowledgements that leave, in order."""
    if wanted is None:
        return (codes.application,)
    is_taken = codes.accept is AckCode.COMMITTED
    accept = (codes.accept,) if wanted.accept.holds(is_good=is_taken) else ()
    if accept and not is_taken:
        return accept
    is_good = codes.application is AckCode.ACCEPTED
    return (*accept, *((codes.application,) if wanted.application.holds(is_good=is_good) else ()))


def render_answers(reading: Reading, receipt: Receipt, manner: Manner) -> bytes:
    """The acknowledgements of a message that is kept, one after another; each begins with MSH."""
    if reading.is_unanswerable:
        return b""
    interpretation = receipt.interpretation
    if interpretation.failure:
        is_ours = interpretation.failure_code == INTERNAL and reading.fault is None
        code = interpretation.failure_code
        accept = AckCode.NOT_FOR_US if code in _NOT_FOR_US else AckCode.NOT_COMMITTED
        codes = Codes(accept=accept, application=AckCode.ERROR if is_ours else AckCode.REJECTED)
        return _rendered(reading, manner, codes, (fault_of(code, interpretation.failure),))
    is_error = receipt.state is MessageState.FAILED
    faults = _worst_first(receipt)
    if receipt.state is MessageState.HELD and manner.is_hold_an_error:
        is_error, faults = True, _as_errors(faults, receipt.reason)
    codes = Codes(accept=AckCode.COMMITTED, application=AckCode.ERROR if is_error else AckCode.ACCEPTED)
    text = {
        MessageState.HELD: _HELD,
        MessageState.RECEIVED: _RECEIVED,
        MessageState.SKIPPED: receipt.reason,
    }.get(receipt.state, "")
    if REUSED in interpretation.warnings:
        text = f"{text}; {REUSED}" if text else REUSED
    return _rendered(reading, manner, codes, faults, text)


def render_our_fault(reading: Reading, manner: Manner) -> bytes:
    """The acknowledgement of a message that could not be stored: the sender keeps it and sends it again."""
    codes = Codes(accept=AckCode.NOT_COMMITTED, application=AckCode.ERROR)
    return _rendered(reading, manner, codes, (fault_of(INTERNAL, OUR_FAULT),))


def answers_in(raw: bytes) -> tuple[bytes, ...]:
    """The acknowledgements that stand one after another in `raw`, as the store keeps them."""
    return tuple(one for one in _BETWEEN.split(raw) if one)


def _when(text: str) -> When | None:
    """None for a field that is empty or null."""
    code = text.strip().upper()
    if not code or code == NULL:
        return None
    return When(code) if code in tuple(When) else When.ALWAYS


def _rendered(
    reading: Reading, manner: Manner, codes: Codes, faults: tuple[Fault, ...], text: str = ""
) -> bytes:
    remarks = tuple(_remark(remark) for remark in manner.remarks)
    said = "; ".join((*filter(None, [text]), *manner.remarks))
    rendered = []
    for turn, code in enumerate(chosen(read_wanted(reading.message), codes)):
        is_bare = code is AckCode.COMMITTED
        rendered.append(
            render_ack(
                reading.message,
                code,
                control_id=f"{manner.new_control_id}{'.2' * turn}",
                at=manner.at,
                codec=reading.codec,
                text="" if is_bare else said,
                faults=() if is_bare else (*faults, *remarks),
            )
        )
    return b"".join(rendered)


def _worst_first(receipt: Receipt) -> tuple[Fault, ...]:
    """The faults of all orders and what was odd about the message itself, each once."""
    mapped = receipt.interpretation.mapped
    requests = mapped.requests if mapped else ()
    faults = [fault for request in requests for fault in request.faults]
    odd = [_oddity(warning) for warning in receipt.interpretation.warnings]
    return tuple(sorted(dict.fromkeys([*faults, *odd]), key=lambda fault: _RANKS[fault.severity]))


def _oddity(warning: str) -> Fault:
    """A warning as a fault; one about the character set says where to mend it."""
    code = TABLE if warning.startswith(charset.FIELD) else SEQUENCE
    return replace(fault_of(code, warning), severity=Severity.WARN)


def _as_errors(faults: tuple[Fault, ...], reason: str) -> tuple[Fault, ...]:
    """The faults of a held message as errors; at least one, for an AE must say why."""
    turned = tuple(
        replace(fault, severity=Severity.REJECT) if fault.severity is Severity.HOLD else fault
        for fault in faults
    )
    is_told = any(fault.severity is Severity.REJECT for fault in turned)
    return turned if is_told else (replace(fault_of(_UNDECIDED, reason or _HELD), place=None), *turned)


def _remark(text: str) -> Fault:
    place = Place(segment=text[:3], segment_repetition=1, field=1)
    return Fault(severity=Severity.WARN, keyword="", place=place, code="100", text=text, at="")
