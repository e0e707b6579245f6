"""Errands: what messages need from a record system is read, under a lease, until it is here or given up."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.flow.deliver import wait_s
from gateway.flow.follow import hear
from gateway.flow.ports import Ports
from gateway.model.errand import Errand, ErrandKind
from gateway.model.errors import NotFound, Refused, Unavailable
from gateway.model.ids import MessageId
from gateway.model.message import Interpretation, MessageState
from gateway.model.resource import Held
from gateway.store import errands, inbox, resources
from gateway.store.database import Tx

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
AT_ONCE = 4
_SETTLED = frozenset({MessageState.MAPPED, MessageState.SKIPPED, MessageState.HELD})
_NOT_FETCHED = "what it names could not be read from the record system: {}"
_OUR_FAULT = "the gateway failed at reading it; its log says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of an errand. `error` is "" when it was done."""

    errand: Errand
    held: tuple[Held, ...] = ()
    error: str = ""
    is_final: bool = False  # the server will not say anything else
    retry_after_s: float | None = None


def note(tx: Tx, source: str, message_id: MessageId, interpretation: Interpretation, at: datetime) -> None:
    """What a message brought is held, and what it needs is owed. Part of the message's own transaction."""
    for held in interpretation.resources:
        resources.save(tx, held)
    for wanted in interpretation.wanted:
        errands.add(tx, source, wanted, at, message_id=message_id)
    if interpretation.heard is not None:
        hear(tx, source, interpretation.heard, at)


def waits(interpretation: Interpretation) -> bool:
    """Whether the message cannot be settled before something is read for it."""
    return any(wanted.kind is ErrandKind.READ for wanted in interpretation.wanted)


def run_due(
    ports: Ports, source: str, run: Callable[[Errand], Iterable[Held]], *, patience: timedelta
) -> int:
    """How many errands of the source were tried; 0 when none was due.

    `run` reads and returns what is to be held; it raises NotFound, Refused or Unavailable. A reading that a message
    waits for is given up when the server did not answer for as long as `patience`; others never are.
    """
    with ports.database.write() as tx:
        claimed = errands.claim(tx, source, ports.clock(), LEASE, limit=AT_ONCE)
    if not claimed:
        return 0
    with ThreadPoolExecutor(len(claimed), thread_name_prefix=f"read {source}") as pool:
        outcomes = list(pool.map(lambda errand: _run(errand, run), claimed))
    for outcome in outcomes:
        with ports.database.write() as tx:
            _settle(tx, outcome, ports.clock(), patience)
        _tell(ports, outcome)
    return len(outcomes)


def forget_done(ports: Ports, after: timedelta) -> None:
    """Errands that ended longer ago than that are forgotten."""
    with ports.database.write() as tx:
        errands.forget_done(tx, ports.clock() - after)


def _run(errand: Errand, run: Callable[[Errand], Iterable[Held]]) -> _Outcome:
    try:
        return _Outcome(errand=errand, held=tuple(run(errand)))
    except Unavailable as error:
        return _Outcome(errand=errand, error=str(error), retry_after_s=error.retry_after_s)
    except (NotFound, Refused) as error:
        return _Outcome(errand=errand, error=str(error), is_final=True)
    except (
        Exception
    ):  # a thread begins here: one reading that we fail at must not keep the others from their end
        log.exception("errand.failed", extra={"source": errand.source, "kind": errand.kind})
        return _Outcome(errand=errand, error=_OUR_FAULT, is_final=True)


def _settle(tx: Tx, outcome: _Outcome, at: datetime, patience: timedelta) -> None:
    errand = outcome.errand
    for held in outcome.held:
        resources.save(tx, held)
    if not outcome.error:
        errands.finish(tx, errand, at)
    elif _is_over(outcome, at, patience) and _is_shown(tx, outcome, at):
        errands.give_up(tx, errand, at, outcome.error)
    else:
        after_s = wait_s(errand.attempts, asked_s=outcome.retry_after_s, spread=errand.id * 37 % 100 / 100)
        due = at + timedelta(seconds=after_s)
        if errand.kind is ErrandKind.READ:
            due = min(due, max(errand.created_at + patience, at))
        errands.postpone(tx, errand, due, outcome.error)


def _is_over(outcome: _Outcome, at: datetime, patience: timedelta) -> bool:
    errand = outcome.errand
    return outcome.is_final or (errand.kind is ErrandKind.READ and at - errand.created_at >= patience)


def _is_shown(tx: Tx, outcome: _Outcome, at: datetime) -> bool:
    """Whether a person sees what is given up: the message that named what could not be fetched is held.

    One that is still to be settled cannot be held yet. What a message waits for is a fault of its order, and what
    stands against a poll a warning.
    """
    errand = outcome.errand
    if errand.kind is not ErrandKind.FETCH or errand.message_id is None:
        return True
    tx.lock(f"source {errand.source}")
    message = inbox.show(tx, errand.message_id)
    if message.state is MessageState.RECEIVED:
        return False
    if message.state in _SETTLED:
        before = (message.reason,) if message.state is MessageState.HELD else ()
        reasons = dict.fromkeys((*before, _NOT_FETCHED.format(outcome.error)))
        inbox.settle(tx, message.id, MessageState.HELD, "; ".join(reasons), at)
    return True


def _tell(ports: Ports, outcome: _Outcome) -> None:
    """The log names the field, never what was asked for: an identifier may stand in it."""
    errand = outcome.errand
    extra = {"source": errand.source, "kind": errand.kind, "field": errand.field, "attempts": errand.attempts}
    if outcome.error:
        log.warning("fhir.not_read", extra={**extra, "reason": outcome.error})
    else:
        log.info("fhir.read", extra=extra)
    ports.tally.count("readings", errand.source, "failed" if outcome.error else "done")
