"""The Subscription by which a record system pushes to us: made, watched and renewed.

Source: FHIR R4 subscription.html; http://hl7.org/fhir/uv/subscriptions-backport; FHIR R5 subscription.html.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl

from gateway.fhir.classify import entries_of, resource_of, text_at
from gateway.fhir.exact import encode_exact
from gateway.fhir.exchange import Connection
from gateway.fhir.holding import read_instant
from gateway.fhir.outcome import MEDIA_TYPE
from gateway.fhir.reader import Reader
from gateway.fhir.verdict import judge_fhir
from gateway.flow.ports import Clock
from gateway.mapping.fhir_paths import Resource
from gateway.model.errors import NotFound, Refused, Unavailable

log = logging.getLogger(__name__)

LOOK_S = 300.0

_REASON = "Imaging orders for the gateway"
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
_CHANNELS = "http://terminology.hl7.org/CodeSystem/subscription-channel-type"
_DOWN = frozenset({"error", "off"})


class Form(StrEnum):
    """How a Subscription says what it is for."""

    R4 = "r4"  # a search
    BACKPORT = "backport"  # a topic, in R4
    R5 = "r5"  # a topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The Subscription that a source should have."""

    form: Form
    endpoint: str
    criteria: str = ""  # "ServiceRequest?category=..."; with a topic what it is narrowed to
    topic: str = ""
    headers: tuple[str, ...] = field(default=(), repr=False)  # "Authorization: Bearer ..."
    payload: str = "full-resource"  # or "id-only", "empty"
    heartbeat_s: int = 0
    lasts: timedelta = timedelta()  # zero: it has no end


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a Subscription stands at its source."""

    address: str  # "Subscription/5"
    status: str  # "requested", "active", "error", "off"
    error: str = ""
    ends: datetime | None = None


def render(wish: Wish, at: datetime) -> dict[str, Any]:
    """The Subscription, as it is asked for."""
    end = {"end": (at + wish.lasts).isoformat(timespec="seconds")} if wish.lasts else {}
    common = {"resourceType": "Subscription", "status": "requested", "reason": _REASON, **end}
    return {**common, **(_in_r5(wish) if wish.form is Form.R5 else _in_r4(wish))}


def _in_r4(wish: Wish) -> dict[str, Any]:
    channel: dict[str, Any] = {"type": "rest-hook", "endpoint": wish.endpoint}
    if wish.payload != "empty" or wish.form is Form.BACKPORT:
        channel["payload"] = MEDIA_TYPE
    if wish.headers:
        channel["header"] = list(wish.headers)
    if wish.form is Form.R4:
        return {"criteria": wish.criteria, "channel": channel}
    channel["_payload"] = _extended("backport-payload-content", "valueCode", wish.payload)
    if wish.heartbeat_s:
        channel |= _extended("backport-heartbeat-period", "valueUnsignedInt", wish.heartbeat_s)
    narrowed = _extended("backport-filter-criteria", "valueString", wish.criteria) if wish.criteria else {}
    return {
        "meta": {"profile": [f"{_BACKPORT}/backport-subscription"]},
        "criteria": wish.topic,
        **({"_criteria": narrowed} if narrowed else {}),
        "channel": channel,
    }


def _extended(name: str, kind: str, value: object) -> dict[str, Any]:
    return {"extension": [{"url": f"{_BACKPORT}/{name}", kind: value}]}


def _in_r5(wish: Wish) -> dict[str, Any]:
    kind, _, wanted = wish.criteria.partition("?")
    filters = [
        {"resourceType": kind, "filterParameter": name, "value": value} for name, value in parse_qsl(wanted)
    ]
    headers = [
        {"name": name.strip(), "value": value.strip()}
        for name, _, value in (header.partition(":") for header in wish.headers)
    ]
    return {
        "topic": wish.topic,
        **({"filterBy": filters} if filters else {}),
        "channelType": {"system": _CHANNELS, "code": "rest-hook"},
        "endpoint": wish.endpoint,
        **({"parameter": headers} if headers else {}),
        **({"heartbeatPeriod": wish.heartbeat_s} if wish.heartbeat_s else {}),
        "contentType": MEDIA_TYPE,
        "content": wish.payload,
    }


class Registrar:
    """Keeps one Subscription at one source."""

    def __init__(self, wish: Wish, base: str, connection: Connection, clock: Clock) -> None:
        self._wish = wish
        self._base = base
        self._connection = connection
        self._reader = Reader(base, connection)
        self._clock = clock

    def show(self) -> Standing | None:
        """How it stands; None when the source has none. Raises NotFound, Refused, Unavailable."""
        found = self._found()
        return _standing(found) if found is not None else None

    def subscribe(self) -> Standing:
        """The Subscription was made, or asked for anew. Raises NotFound, Refused, Unavailable."""
        found, wanted = self._found(), render(self._wish, self._clock())
        if found is None:
            own_id = self._written("POST", "Subscription", wanted)
            return _standing({**wanted, "id": own_id})
        own_id = text_at(found, "id")
        self._written("PUT", f"Subscription/{own_id}", {**wanted, "id": own_id})
        return _standing({**wanted, "id": own_id})

    def watch(self) -> Standing | None:
        """As `show`; one that failed, was switched off or is about to end has been asked for anew."""
        standing = self.show()
        if standing is None or not self._is_failing(standing):
            return standing
        return self.subscribe()

    def close(self) -> None:
        """No connection is open any more."""
        self._connection.close()

    def _is_failing(self, standing: Standing) -> bool:
        if standing.status in _DOWN:
            return True
        left = standing.ends - self._clock() if standing.ends is not None else None
        return left is not None and bool(self._wish.lasts) and left < self._wish.lasts / 3

    def _found(self) -> Resource | None:
        return next((one for one in self._subscriptions() if _is_same(one, self._wish)), None)

    def _subscriptions(self) -> Iterator[Resource]:
        for page in self._reader.pages("Subscription?_count=100"):
            for entry in entries_of(page):
                inner = resource_of(entry)
                if inner is not None and text_at(inner, "resourceType") == "Subscription":
                    yield inner

    def _written(self, method: str, address: str, resource: Mapping[str, Any]) -> str:
        answer = self._connection.ask(
            method, f"{self._base}/{address}", encode_exact(resource), {"Content-Type": MEDIA_TYPE}
        )
        judge_fhir(answer)
        written = answer.written("Subscription")
        return written.id if written is not None else address.partition("/")[2]


def _is_same(resource: Resource, wish: Wish) -> bool:
    if wish.form is Form.R5:
        return text_at(resource, "endpoint") == wish.endpoint and text_at(resource, "topic") == wish.topic
    criteria = wish.criteria if wish.form is Form.R4 else wish.topic
    return (
        text_at(resource, "channel", "endpoint") == wish.endpoint
        and text_at(resource, "criteria") == criteria
    )


def _standing(resource: Resource) -> Standing:
    return Standing(
        address=f"Subscription/{text_at(resource, 'id')}",
        status=text_at(resource, "status"),
        error=text_at(resource, "error")[:200],
        ends=read_instant(text_at(resource, "end")),
    )


class Watcher:
    """Looks at every Subscription from time to time; a person is told of what is wrong."""

    def __init__(self, registrars: Mapping[str, Registrar]) -> None:
        self._registrars = registrars
        self._found: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the last look found."""
        return tuple(f"fhir.sources.{name}.subscribe: {text}" for name, text in self._found.items() if text)

    def look(self) -> None:
        """Each Subscription was looked at, and asked for anew where that helps."""
        for name, registrar in self._registrars.items():
            text = _trouble(registrar)
            if text and text != self._found.get(name):
                log.warning("fhir.subscription", extra={"source": name, "reason": text})
            self._found[name] = text

    def close(self) -> None:
        """No connection is open any more."""
        for registrar in self._registrars.values():
            registrar.close()


def _trouble(registrar: Registrar) -> str:
    try:
        standing = registrar.watch()
    except (NotFound, Refused, Unavailable) as error:
        return f"could not be looked at: the server {error}"
    if standing is None:
        return "there is none; make it with: gateway fhir subscribe"
    return f"is {standing.status}: {standing.error}" if standing.status in _DOWN else ""
