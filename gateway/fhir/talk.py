"""What is said to one FHIR server about one delivery."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.destination import Destination
from gateway.fhir.entries import Entry
from gateway.fhir.exact import encode_exact
from gateway.fhir.exchange import Answer, Connection
from gateway.fhir.verdict import SEVERAL, judge_fhir
from gateway.flow import remember
from gateway.flow.ports import Ports
from gateway.model.errors import Refused, Unavailable
from gateway.model.written import Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Requests to one destination until `until`, and what is known of its names for things."""

    destination: Destination
    connection: Connection
    ports: Ports
    turns: tuple[threading.Lock, ...]  # see `turn`
    until: float  # of `monotonic`; the lease must not run out while somebody still sends
    monotonic: Callable[[], float] = time.monotonic

    def ask(
        self,
        method: str,
        path: str,
        resource: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a request below the destination's base. Raises Unavailable when none came in time."""
        body = encode_exact(resource) if resource is not None else b""
        return self.ask_bytes(method, path, body, headers)

    def ask_bytes(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """As `ask`, of a body that is bytes already."""
        if self.monotonic() > self.until:
            raise Unavailable("the server was too slow to take all of it")
        url = f"{self.destination.url}/{path}" if path else self.destination.url
        return self.connection.ask(method, url, body, headers)

    def turn(self, entry: Entry) -> threading.Lock:
        """What is held while the resource is written: studies that leave together may share one, as an Endpoint."""
        return self.turns[hash(entry.address) % len(self.turns)]

    def recall(self, entry: Entry) -> Written | None:
        """What the server called it last."""
        return remember.recall(self.ports, self.destination.name, entry.address)

    def remember(self, entry: Entry, known: Written) -> None:
        """What the server calls it is kept."""
        remember.remember(self.ports, self.destination.name, entry.address, known)

    def forget(self, entry: Entry) -> None:
        """It is gone there."""
        remember.forget(self.ports, self.destination.name, entry.address)

    def found(self, kind: str, query: str) -> Written | None:
        """The one resource that the server finds by the query, None when it has none.

        Raises Refused when there are several: which one is meant only a person can tell.
        """
        answer = self.ask("GET", f"{kind}?{query}")
        judge_fhir(answer)
        matches = _matches(answer, kind)
        if len(matches) > 1:
            raise Refused(f"{kind}: {SEVERAL}")
        return matches[0] if matches else None

    def current(self, kind: str, resource_id: str) -> Written | None:
        """The version that the server has now; None when it has it no more."""
        answer = self.ask("GET", f"{kind}/{resource_id}")
        if answer.status in (404, 410):
            return None
        judge_fhir(answer)
        return answer.written(kind)


def if_match(version: str | None) -> Mapping[str, str]:
    """The header that lets an update pass only when nobody changed it. Source: FHIR R4 http.html, contention."""
    return {"If-Match": f'W/"{version}"'} if version is not None else {}


def _matches(answer: Answer, kind: str) -> list[Written]:
    """The resources of the kind in a searchset. Raises Unavailable when it is none."""
    tree = answer.tree()
    if not isinstance(tree, dict) or (tree.get("resourceType"), tree.get("type")) != ("Bundle", "searchset"):
        raise Unavailable(f"answered {answer.status} without the result of a search")
    found = []
    for entry in tree.get("entry") or ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        own = resource if isinstance(resource, dict) else {}
        if own.get("resourceType") == kind and isinstance(own.get("id"), str):
            version = own["meta"].get("versionId") if isinstance(own.get("meta"), dict) else None
            found.append(Written(id=own["id"], version=version if isinstance(version, str) else None))
    return found
