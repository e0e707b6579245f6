"""What other modules would make of the same messages: changed, new and lost worklist entries."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable, map_again
from gateway.model.order import Action, Mapped, OrderRequest, Severity, Value

ENTRIES = frozenset({Action.SCHEDULE, Action.UPDATE, Action.RESCHEDULE, Action.HOLD})
"""The actions of an order that stands in the worklist, at once or as soon as a person has looked at it."""

_KEYS = ("ScheduledProcedureStepID", "AccessionNumber", "PlacerOrderNumberImagingServiceRequest")


class Kind(StrEnum):
    """What becomes of an entry."""

    CHANGED = "changed"
    NEW = "new"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One attribute (or `action`, `state`, `module`) before and after; "" where there is none."""

    keyword: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDifference:
    """One worklist entry that would be otherwise."""

    message: str  # what the caller calls the message
    number: int  # which order of the message, from 1
    kind: Kind
    accession: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All messages compared."""

    messages: int
    entries: tuple[EntryDifference, ...]

    def count(self, kind: Kind) -> int:
        """How many entries are of that kind."""
        return sum(entry.kind is kind for entry in self.entries)


def compare(before: Modules, after: Modules, messages: Iterable[tuple[str, Readable]]) -> Comparison:
    """Every message mapped both ways."""
    count = 0
    found: list[EntryDifference] = []
    for name, readable in messages:
        count += 1
        found.extend(_differences(name, map_again(before, readable), map_again(after, readable)))
    return Comparison(messages=count, entries=tuple(found))


def _differences(name: str, before: Mapped, after: Mapped) -> Iterator[EntryDifference]:
    for number, (old, new) in enumerate(_pairs(before.requests, after.requests), start=1):
        was, will = old is not None and is_entry(old), new is not None and is_entry(new)
        changes = tuple(_changes(old, new))
        if (was or will) and changes:
            kind = Kind.CHANGED if was and will else Kind.NEW if will else Kind.LOST
            shown = new if will else old
            accession = shown.text("AccessionNumber") if shown else ""
            yield EntryDifference(
                message=name, number=number, kind=kind, accession=accession, changes=changes
            )


def is_entry(request: OrderRequest) -> bool:
    """Whether the order would be scheduled or held: a refused or taken back one is no entry."""
    return request.action in ENTRIES and request.severity is not Severity.REJECT


def _pairs(
    before: tuple[OrderRequest, ...], after: tuple[OrderRequest, ...]
) -> list[tuple[OrderRequest | None, OrderRequest | None]]:
    """The orders of both sides that belong together: in turn when there are as many, else by their numbers."""
    if len(before) == len(after):
        return list(zip(before, after, strict=True))
    left = list(after)
    pairs: list[tuple[OrderRequest | None, OrderRequest | None]] = []
    for old in before:
        new = next((one for one in left if any(_is_same(one, old, key) for key in _KEYS)), None)
        if new is not None:
            left.remove(new)
        pairs.append((old, new))
    return pairs + [(None, new) for new in left]


def _is_same(one: OrderRequest, other: OrderRequest, key: str) -> bool:
    return one.text(key) == other.text(key) != ""


def _changes(old: OrderRequest | None, new: OrderRequest | None) -> Iterator[Change]:
    before, after = _facts(old), _facts(new)
    for keyword in dict.fromkeys((*before, *after)):
        if before.get(keyword) != after.get(keyword):
            yield Change(keyword=keyword, before=before.get(keyword, ""), after=after.get(keyword, ""))


def _facts(request: OrderRequest | None) -> dict[str, str]:
    if request is None:
        return {}
    held = sorted({fault.keyword or "order" for fault in request.faults if fault.severity is Severity.HOLD})
    refused = request.severity is Severity.REJECT
    state = "refused" if refused else f"held for {', '.join(held)}" if held else "free"
    values = {keyword: _text(value) for keyword, value in request.attributes.items()}
    return {"action": str(request.action), "state": state, **values}


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, ensure_ascii=False)
