"""Settle: messages that were kept and answered first are mapped, those of one source in the order they came."""

import logging
from collections.abc import Callable, Collection

from gateway.flow.errand import note, waits
from gateway.flow.judge import found_in, judge, module_of
from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, Unavailable
from gateway.model.message import Interpretation, Message, Protocol
from gateway.store import errands, inbox

log = logging.getLogger(__name__)

_OUR_FAULT = "the gateway failed at this message; its log says why"


def settle_received(ports: Ports, interpret: Callable[[Message], Interpretation]) -> int:
    """How many messages were settled, each in a transaction of its own; 0 when none waited.

    A message that we fail at by a fault of our own becomes `failed`, so that it holds up nobody. One for which
    something must be read from its sender waits for that, and the later ones of its source with it.
    Raises Unavailable or Conflict when the rest must wait for the next time.
    """
    settled = 0
    waiting: set[str] = set()
    while batch := _waiting(ports, waiting):
        done = 0
        for message in batch:
            if message.source not in waiting and not _is_waiting(ports, message):
                done += _settle(ports, message, interpret)
            if _is_waiting(ports, message):
                waiting.add(message.source)
        settled += done
        if not done and not any(message.source in waiting for message in batch):
            break  # another process is at them
    return settled


def _waiting(ports: Ports, apart_from: Collection[str]) -> tuple[Message, ...]:
    with ports.database.read() as tx:
        return inbox.received(tx, apart_from=apart_from)


def _is_waiting(ports: Ports, message: Message) -> bool:
    if message.protocol is not Protocol.FHIR:
        return False
    with ports.database.read() as tx:
        return errands.is_waited_for(tx, message.id)


def _settle(ports: Ports, message: Message, interpret: Callable[[Message], Interpretation]) -> bool:
    try:
        interpretation = interpret(message)
        return _settled(ports, message, interpretation)
    except (Unavailable, Conflict):
        raise
    except Exception:  # one message is to this thread what a connection is to a listener
        log.exception("message.not_settled", extra={"message_id": message.id})
    failure = Interpretation(keys=message.keys, mapped=None, failure=_OUR_FAULT, failure_code="207")
    return _settled(ports, message, failure)


def _settled(ports: Ports, message: Message, interpretation: Interpretation) -> bool:
    """Whether it was this call that settled the message."""
    with ports.database.write() as tx:
        tx.lock(f"source {message.source}")
        if inbox.oldest_received(tx, message.source) != message.id:
            return False
        at = ports.clock()
        if waits(interpretation):
            note(tx, message.source, message.id, interpretation, at)
            return False
        verdict = judge(
            tx,
            ports,
            interpretation,
            source=message.source,
            message_id=message.id,
            actor=f"{message.protocol}:{message.source}",
            at=at,
            replays=message.id,  # a person may have asked for it once more
        )
        inbox.settle(tx, message.id, verdict.state, verdict.reason, at)
        inbox.describe(
            tx,
            message.id,
            module=module_of(interpretation),
            found=found_in(interpretation),
            warnings=dict.fromkeys((*message.warnings, *interpretation.warnings)),
        )
    log.info("message.settled", extra={"message_id": message.id, "state": verdict.state})
    return True
