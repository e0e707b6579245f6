"""What a reference in a message leads to: a contained resource, or another entry of the same Bundle.

What the message does not bring along is not looked for here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.fhir.classify import entries_of, orders_in, resource_of, text_at
from gateway.mapping.fhir_paths import Graph, Resource


def graph(resource: Resource) -> Graph:
    """The orders of a resource and the way to what they refer to, as far as the resource itself holds it."""
    index = _index(resource)
    return Graph(orders=orders_in(resource), resolve=index.resolve)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One resource of the message."""

    resource: Resource
    full_url: str  # "" when the sender gave none
    base: str  # what relative references from it stand on; "" when its URL names no FHIR base


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Every resource of a message by the names it can be called."""

    by_url: dict[str, list[_Entry]] = field(default_factory=dict)
    by_name: dict[str, list[_Entry]] = field(default_factory=dict)  # "Patient/7"
    outer: dict[int, _Entry] = field(default_factory=dict)  # id() of a resource: the entry it stands in

    def add(self, entry: _Entry) -> None:
        self.outer[id(entry.resource)] = entry
        for part in _contained(entry.resource):
            self.outer[id(part)] = entry
        if entry.full_url:
            self.by_url.setdefault(_bare(entry.full_url), []).append(entry)
        name = f"{text_at(entry.resource, 'resourceType')}/{text_at(entry.resource, 'id')}"
        self.by_name.setdefault(name, []).append(entry)

    def resolve(self, holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
        """What the Reference element in `holder` leads to; None when that is not in the message.

        Source: FHIR R4 references.html, literal references; bundle.html, resolving references in Bundles.
        """
        target = text_at(reference, "reference")
        home = self.outer.get(id(holder))
        if target.startswith("#"):
            return _within(home.resource if home else holder, target[1:])
        bare, _, version = target.partition("/_history/")
        if not bare:
            return None
        found = self.by_url.get(_bare(bare)) or self._relative(bare, home.base if home else "")
        return _version(found, version)

    def _relative(self, name: str, base: str) -> list[_Entry]:
        """The entries that `Type/id` means when it stands on `base`.

        A resource that says it lives on another server is another one, though it has the same id.
        """
        on_base = self.by_url.get(f"{base}/{name}", []) if base else []
        if on_base:
            return on_base
        alike = [e for e in self.by_name.get(name, []) if not base or not e.base or e.base == base]
        return alike if len({e.full_url for e in alike}) == 1 else []


def _index(resource: Resource) -> _Index:
    index = _Index()
    index.add(_Entry(resource=resource, full_url="", base=""))
    for entry in entries_of(resource):
        inner = resource_of(entry)
        if inner is not None:
            full_url = text_at(entry, "fullUrl")
            index.add(_Entry(resource=inner, full_url=full_url, base=_base(full_url, inner)))
    return index


def _base(full_url: str, resource: Resource) -> str:
    """`https://ehr/fhir` of `https://ehr/fhir/Patient/7`."""
    tail = f"/{text_at(resource, 'resourceType')}/{text_at(resource, 'id')}"
    is_web = full_url.startswith(("http://", "https://"))
    return full_url.removesuffix(tail) if is_web and full_url.endswith(tail) else ""


def _bare(url: str) -> str:
    """The URL as it is compared: a UUID's letters have no case. Source: RFC 4122 3."""
    return url.lower() if url[:9].lower() == "urn:uuid:" else url


def _contained(resource: Resource) -> list[Resource]:
    parts = resource.get("contained")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _within(outer: Resource, name: str) -> Resource | None:
    """The contained resource called `name`; the outer one itself for an empty name."""
    if not name:
        return outer
    # STU3 senders write the mark into the id as well.
    return next((part for part in _contained(outer) if text_at(part, "id") in (name, f"#{name}")), None)


def _version(found: list[_Entry], version: str) -> Resource | None:
    """The entry of the wanted version, else the first: a history has the newest one first."""
    for entry in found:
        if version and text_at(entry.resource, "meta", "versionId") == version:
            return entry.resource
    return found[0].resource if found else None
