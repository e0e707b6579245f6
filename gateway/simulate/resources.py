"""What a FHIR server holds: resources in memory, and the rules for changing them."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from gateway.model.errors import Refused

Json: TypeAlias = "dict[str, Any]"
"""A FHIR resource as JSON."""

SEARCHED = frozenset({"identifier", "_id"})


class Turned(Refused):
    """A request that the server does not take: the HTTP status, an issue code and what to say."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A resource as it now stands; `status` is 201 when it is new, 200 when it was there."""

    status: int
    resource: Json

    @property
    def path(self) -> str:
        """Its address under the base: "ImagingStudy/1/_history/2"."""
        return f"{self.resource['resourceType']}/{self.resource['id']}/_history/{self.version}"

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.resource["meta"]["versionId"])


class Resources:
    """Resources by type and id. Not safe for several threads at once."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Json]] = {}
        self._made = 0

    def of_type(self, kind: str) -> tuple[Json, ...]:
        """Every resource of a type, oldest first."""
        return tuple(self._held.get(kind, {}).values())

    def read(self, kind: str, resource_id: str) -> Json:
        """One resource. Raises Turned (404)."""
        try:
            return self._held[kind][resource_id]
        except KeyError:
            raise Turned(404, "not-found", f"{kind}: no such id") from None

    def search(self, kind: str, query: Mapping[str, str]) -> tuple[Json, ...]:
        """The resources that a search finds. Raises Turned (400) for a parameter that is not understood."""
        if unknown := sorted(set(query) - SEARCHED):
            raise Turned(400, "not-supported", f"search parameter {unknown[0]}: not supported")
        return tuple(resource for resource in self.of_type(kind) if _is_found(resource, query))

    def put(self, kind: str, resource_id: str, body: Json) -> Written:
        """The resource under the id that the client chose. Source: FHIR R4 http.html#upsert."""
        _check(kind, body)
        if body.get("id") != resource_id:
            raise Turned(400, "invalid", f"{kind}.id: not the id of the address")
        return self._write(kind, resource_id, body)

    def put_where(self, kind: str, query: Mapping[str, str], body: Json) -> Written:
        """A conditional update: created when nothing matches, changed when one does, 412 when several do.

        Stricter than the standard in one point: the body must have the identifier it is searched by, or the same
        request would create another resource every time. Source: FHIR R4 http.html#cond-update.
        """
        _check(kind, body)
        if not query:
            raise Turned(412, "incomplete", "conditional update: no search parameter")
        found = self.search(kind, query)
        if len(found) > 1:
            raise Turned(412, "multiple-matches", f"conditional update: {len(found)} resources match")
        if not _is_found(body, {name: text for name, text in query.items() if name != "_id"}):
            raise Turned(400, "invalid", f"{kind}.identifier: not the one that the address searches by")
        if found and body.get("id", found[0]["id"]) != found[0]["id"]:
            raise Turned(400, "invalid", f"{kind}.id: not the id of the resource that matches")
        return self._write(kind, str(found[0]["id"]) if found else self._new_id(), body)

    def create(self, kind: str, body: Json, unless: Mapping[str, str] | None = None) -> Written:
        """A new resource; the one that `unless` finds, unchanged, when there is one.

        Source: FHIR R4 http.html#ccreate.
        """
        _check(kind, body)
        found = self.search(kind, unless) if unless else ()
        if len(found) > 1:
            raise Turned(412, "multiple-matches", f"conditional create: {len(found)} resources match")
        return Written(status=200, resource=found[0]) if found else self._write(kind, self._new_id(), body)

    def transact(self, bundle: Json) -> tuple[Written, ...]:
        """Every entry of a transaction or, when one is refused, none. Source: FHIR R4 http.html#transaction."""
        before = copy.deepcopy(self._held)
        try:
            return tuple(self._entry(entry, number) for number, entry in enumerate(bundle.get("entry", [])))
        except Turned:
            self._held = before
            raise

    def _entry(self, entry: Json, number: int) -> Written:
        request = entry.get("request") or {}
        method, address = request.get("method"), urlsplit(str(request.get("url", "")))
        kind, _, resource_id = address.path.partition("/")
        body = entry.get("resource") or {}
        if method == "PUT" and resource_id:
            return self.put(kind, resource_id, body)
        if method == "PUT":
            return self.put_where(kind, read_query(address.query), body)
        if method == "POST" and not resource_id:
            return self.create(kind, body, read_query(str(request.get("ifNoneExist", ""))))
        raise Turned(400, "not-supported", f"Bundle.entry[{number}].request: PUT and POST are supported")

    def _write(self, kind: str, resource_id: str, body: Json) -> Written:
        held = self._held.setdefault(kind, {})
        before = held.get(resource_id)
        version = int(before["meta"]["versionId"]) + 1 if before else 1
        meta = {**body.get("meta", {}), "versionId": str(version)}
        held[resource_id] = {**copy.deepcopy(body), "id": resource_id, "meta": meta}
        return Written(status=200 if before else 201, resource=held[resource_id])

    def _new_id(self) -> str:
        self._made += 1
        return f"e{self._made}"


def read_query(text: str) -> dict[str, str]:
    """The search parameters of an address; the first value of each."""
    return {name: values[0] for name, values in parse_qs(text).items()}


def outcome(code: str, text: str) -> Json:
    """An OperationOutcome with one error."""
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def _check(kind: str, body: Json) -> None:
    if body.get("resourceType") != kind:
        raise Turned(400, "invalid", f"resourceType: {kind} is expected here")
    try:
        get_fhir_model_class(kind).model_validate_json(json.dumps(body))
    except KeyError:
        raise Turned(404, "not-supported", "resourceType: unknown") from None
    except ValidationError as error:
        where = "; ".join(
            ".".join(map(str, fault["loc"])) + ": " + fault["msg"] for fault in error.errors()[:5]
        )
        raise Turned(422, "processing", f"{kind}: {where}") from None


def _is_found(resource: Json, query: Mapping[str, str]) -> bool:
    if "_id" in query and resource.get("id") != query["_id"]:
        return False
    return "identifier" not in query or any(
        _is_token(query["identifier"], identifier) for identifier in _identifiers(resource)
    )


def _identifiers(resource: Json) -> Iterator[Json]:
    held = resource.get("identifier", [])
    yield from held if isinstance(held, list) else [held]


def _is_token(searched: str, identifier: Json) -> bool:
    """Source: FHIR R4 search.html#token: `value`, `system|value` or `|value`."""
    system, bar, value = searched.rpartition("|")
    if identifier.get("value") != value:
        return False
    return not bar or identifier.get("system", "") == system
