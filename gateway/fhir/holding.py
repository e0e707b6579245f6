"""A resource as we hold it, and what is held of a source when a reference leads there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.fhir.classify import entries_of, is_id, resource_of, text_at
from gateway.fhir.exact import encode_exact, read_exact
from gateway.mapping.fhir_paths import Resource
from gateway.model.errand import ErrandKind, ErrandState
from gateway.model.ids import MessageId
from gateway.model.resource import Held, Identifiers
from gateway.store import errands, resources
from gateway.store.database import Database

_FLEETING = frozenset({"Bundle", "MessageHeader", "OperationOutcome", "Parameters", "SubscriptionStatus"})
"""What carries or tells of resources and is none that could be asked for."""

LED_ELSEWHERE = "it answered with another one or an older version, or several here have the same identifier"


def held_of(source: str, resource: Resource, at: datetime) -> Held | None:
    """The resource as it is held; None for one without an id that could be asked for, and for a Bundle."""
    kind, own_id = text_at(resource, "resourceType"), text_at(resource, "id")
    if not kind or kind in _FLEETING or not is_id(own_id):
        return None
    return Held(
        source=source,
        type=kind,
        id=own_id,
        version=text_at(resource, "meta", "versionId"),
        last_updated=read_instant(text_at(resource, "meta", "lastUpdated")),
        body=encode_exact(resource),
        at=at,
        identifiers=_identifiers(resource),
    )


def tombstone(source: str, address: str, at: datetime) -> Held:
    """The resource as one that is there no more."""
    kind, _, own_id = address.partition("/")
    return Held(source=source, type=kind, id=own_id, body=b"", at=at, is_deleted=True)


def held_in(source: str, resource: Resource, at: datetime) -> tuple[Held, ...]:
    """The resource itself, or those of a Bundle, as they are held."""
    inner = [resource, *(one for entry in entries_of(resource) if (one := resource_of(entry)) is not None)]
    found = (held_of(source, one, at) for one in inner)
    return tuple(held for held in found if held is not None)


def read_instant(text: str) -> datetime | None:
    """The instant; None when it is none. Source: FHIR R4 datatypes.html, instant."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is held of a source, and what came of asking it for a message.

    `said` has why what was asked for could not be read, or does not lead there although it was; `answered` is what the
    source gave an answer to. `stale` has what was found and held since before `stale_before`; it fills as things are
    found.
    """

    database: Database
    source: str
    said: Mapping[str, str] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    stale_before: datetime | None = None
    stale: set[str] = field(default_factory=set)

    def find(self, target: str) -> Resource | None:
        """What "Patient/7" or "Patient?identifier=system|value" leads to; None when it is not held."""
        kind, is_search, rest = target.partition("?identifier=")
        with self.database.read() as tx:
            if is_search:
                system, _, value = rest.rpartition("|")
                # Without a system only the source can say that it means one and no other.
                any_system = not system and target in self.answered
                identifier = (None if any_system else system, value)
                found = resources.find(tx, self.source, kind, identifier=identifier, limit=2)
                held = found[0] if len(found) == 1 else None
            else:
                kind, _, own_id = target.partition("/")
                held = resources.of(tx, self.source, kind, own_id)
        if held is None or held.is_deleted:
            return None
        if self.stale_before is not None and held.at < self.stale_before:
            self.stale.add(target)
        tree = read_exact(held.body)
        return tree if isinstance(tree, dict) else None


def known_to(
    database: Database,
    source: str,
    message_id: MessageId | None = None,
    *,
    stale_before: datetime | None = None,
) -> Known:
    """What is held of the source; for a stored message also what came of asking for what it needs.

    What was read once for a message is not asked for again: it would be, without end, when it leads elsewhere.
    """
    if message_id is None:
        return Known(database=database, source=source, stale_before=stale_before)
    with database.read() as tx:
        asked = errands.of_message(tx, message_id)
    read = (one for one in asked if one.kind is ErrandKind.READ and one.state is ErrandState.DONE)
    answered = frozenset(one.target for one in read)
    failed = {one.target: one.error for one in asked if one.error}
    return Known(
        database=database,
        source=source,
        said={**dict.fromkeys(answered, LED_ELSEWHERE), **failed},
        answered=answered - failed.keys(),
        stale_before=stale_before,
    )


def _identifiers(resource: Resource) -> Identifiers:
    found = resource.get("identifier")
    several: Iterable[Any] = found if isinstance(found, list) else (found,)
    own = (one for one in several if isinstance(one, dict))
    return tuple((text_at(one, "system"), text_at(one, "value")) for one in own if text_at(one, "value"))
