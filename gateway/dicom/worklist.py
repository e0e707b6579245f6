"""The worklist service: a machine asks, the sent orders that match answer. Source: DICOM PS3.4 K."""

import logging
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.events import Event

from gateway.dicom import status
from gateway.dicom.answering import Response
from gateway.dicom.elements import Syntax, syntax_of
from gateway.dicom.fitting import KeptBack
from gateway.dicom.identifier import answer, attributes_of
from gateway.dicom.incoming import IncomingData, calling_ae
from gateway.dicom.keys import Asked, query, read_keys
from gateway.dicom.machines import Machines
from gateway.dicom.matching import agrees
from gateway.dicom.profiles import Profile, Station
from gateway.dicom.receipt import Draft, asker_of
from gateway.dicom.shelf import Entry, KeptBackText, Shelf, shape_of
from gateway.dicom.understanding import narrowed, understood
from gateway.flow.ports import Ports
from gateway.model.errors import Malformed, Unavailable
from gateway.model.order import Attributes, Order
from gateway.model.receipt import Cause, Ending, Note
from gateway.model.worklist import WorklistQuery, starts_within
from gateway.store import worklist

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the site wants its worklist answered."""

    machines: Machines = field(default_factory=Machines)
    fuzzy_names: bool = False
    max_results: int = 0  # to one query, where the machine's profile says nothing; 0: all
    shelf: Shelf = field(default_factory=Shelf)


def find(event: Event, ports: Ports, rules: Rules, note: Note) -> Iterator[Response]:
    """The responses to a C-FIND request, one for each match; a Success follows where none of them is an end.

    A fault is said, never turned into an empty list. `note` gets the receipt, whatever happens.
    """
    peer = calling_ae(event)
    draft = Draft(event, ports.clock())
    try:
        question = _question(event, ports, rules)
        draft.asked(question.asked.keys, question.wanted, question.profile.name)
        yield from _responses(event, question, _found(ports, question), draft)
        ports.tally.count("worklist_queries", "answered")
    except Malformed as error:
        draft.ended(Ending.REFUSED, str(error))
        log.warning("worklist.refused", extra={"peer": peer, "reason": str(error)})
        ports.tally.count("worklist_queries", "refused")
        yield Response(code=status.FIND_IDENTIFIER_UNFIT, comment=str(error))
    except Unavailable as error:
        draft.ended(Ending.FAILED, "the worklist could not be read")
        log.error("worklist.unavailable", extra={"peer": peer, "error": type(error.__cause__).__name__})
        ports.tally.count("worklist_queries", "failed")
        yield Response(code=status.FIND_OUT_OF_RESOURCES, comment="the worklist cannot be read now")
    except Exception:
        draft.ended(Ending.FAILED, "a fault of the worklist's own")
        log.exception("worklist.failed", extra={"peer": peer})
        ports.tally.count("worklist_queries", "failed")
        yield Response(code=status.FIND_UNABLE, comment="a fault of the worklist's own")
    finally:
        note(draft.receipt())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    peer: str
    asked: Asked
    wanted: WorklistQuery
    profile: Profile
    syntax: Syntax
    ports: Ports
    rules: Rules
    shape: Hashable

    @property
    def limit(self) -> int:
        return self.profile.limit or self.rules.max_results

    def attributes(self, order: Order) -> Attributes:
        zone = self.asked.zone or self.ports.zone
        found = attributes_of(order, station=self.peer, zone=zone, site=self.ports.zone)
        return {**found, "ScheduledStationAETitle": self._station(order)}

    def _station(self, order: Order) -> str:
        """An order for several machines is said to be for the one that asks."""
        wanted = self.wanted.station
        if self.profile.answered_station is Station.CALLING or self.peer in order.station.split("\\"):
            return self.peer
        is_one = wanted is not None and len(wanted.values) == 1 and not wanted.is_wild
        if self.profile.answered_station is Station.ASKED and wanted is not None and is_one:
            return wanted.values[0]
        return order.station or self.peer


def _question(event: Event, ports: Ports, rules: Rules) -> _Question:
    identifier = event.request.Identifier if isinstance(event.request, C_FIND) else None
    if isinstance(identifier, IncomingData) and identifier.is_too_long:
        raise Malformed("identifier: too long")
    syntax = syntax_of(str(event.context.transfer_syntax))
    asked = read_keys(identifier.getvalue() if identifier else b"", syntax)
    if not asked.keys:
        raise Malformed("identifier: no keys")
    peer = calling_ae(event)
    profile = rules.machines.choose(peer, asker_of(event).implementation_uid)
    today = ports.clock().astimezone(asked.zone or ports.zone).date()
    wanted = understood(query(asked.keys, is_fuzzy=rules.fuzzy_names), profile, peer, today)
    station = wanted.station if profile.answered_station is Station.ASKED else None
    shape = (
        shape_of(asked.keys),
        asked.charset,
        asked.zone,
        syntax,
        profile.name,
        profile.version,
        peer,
        station,
    )
    return _Question(
        peer=peer, asked=asked, wanted=wanted, profile=profile, syntax=syntax, ports=ports, rules=rules, shape=shape
    )  # fmt: skip


def _found(ports: Ports, question: _Question) -> tuple[Order, ...]:
    """Every order whose columns match. All at once: no transaction is open while answers are sent."""
    wanted = narrowed(question.wanted, question.asked.zone)
    with ports.database.read() as tx:
        return tuple(worklist.find(tx, wanted, ports.listed))


def _responses(
    event: Event, question: _Question, found: tuple[Order, ...], draft: Draft
) -> Iterator[Response]:
    count = beyond = 0
    for order in found:
        if event.is_cancelled:
            yield Response(code=status.FIND_CANCELLED)
            return
        if not _matches(question, order, draft):
            continue
        if question.limit and count >= question.limit:
            draft.left_out(order.id, Cause.LIMIT)
            beyond += 1
            continue
        identifier = _entry(question, order, draft)
        if identifier is not None:
            count += 1
            draft.sent(order.id)
            yield Response(code=question.profile.pending, identifier=identifier)
    draft.ended(Ending.ANSWERED)
    log.info("worklist.answered", extra={"peer": question.peer, "answers": count})
    if beyond:
        log.warning("worklist.limit", extra={"peer": question.peer, "answers": count, "left_out": beyond})
        if not question.profile.is_limit_silent:
            comment = f"more than {question.limit} entries match: ask for less"
            yield Response(code=status.FIND_OUT_OF_RESOURCES, comment=comment)


def _matches(question: _Question, order: Order, draft: Draft) -> bool:
    """Whether the order also matches the keys that have no column."""
    wanted = question.wanted
    if not wanted.others and question.asked.zone is None:
        return True
    attributes = question.attributes(order)
    excluded = next((key for key, match in wanted.others.items() if not agrees(attributes, {key: match})), "")
    if not excluded and not agrees(attributes, wanted.others):
        excluded = next(
            key for key in wanted.others if "." in key
        )  # each key matches an item, no item all of them
    if excluded:
        draft.left_out(order.id, Cause.KEY, excluded)
        return False
    return question.asked.zone is None or _starts(attributes, order, wanted)


def _starts(attributes: Attributes, order: Order, wanted: WorklistQuery) -> bool:
    day, hour = attributes.get("ScheduledProcedureStepStartDate", ""), ""
    if order.has_time:
        hour = str(attributes.get("ScheduledProcedureStepStartTime", ""))
    return starts_within(str(day), hour, wanted.date, wanted.time)


def _entry(question: _Question, order: Order, draft: Draft) -> bytes | None:
    """The order as asked; None when the machine cannot take it, or we cannot say it: one bad entry spoils no list."""
    shelf = question.rules.shelf
    entry = shelf.find(question.shape, order)
    if entry is None:
        try:
            entry = _made(question, order)
        except (ValueError, TypeError, LookupError) as error:
            draft.left_out(order.id, Cause.FAULT)
            log.error("worklist.entry_left_out", extra={"order": order.id, "error": type(error).__name__})
            return None
        shelf.keep(question.shape, order, entry)
    if isinstance(entry, KeptBackText):
        draft.left_out(order.id, Cause.PROFILE, entry)
        return None
    return entry


def _made(question: _Question, order: Order) -> Entry:
    try:
        said = answer(question.attributes(order), question.asked, order.id, question.profile)
    except KeptBack as reason:
        extra = {"order": order.id, "profile": question.profile.name, "reason": str(reason)}
        log.warning("worklist.kept_back", extra=extra)
        return KeptBackText(reason)
    return said.encoded(question.syntax)
