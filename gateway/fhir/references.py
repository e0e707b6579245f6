"""What a reference in a message leads to: a contained resource, another entry of the same Bundle, or one that is known.

What is nowhere is noted, so that it can be read from the sender.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.fhir.classify import entries_of, is_id, orders_in, resource_of, text_at
from gateway.mapping.fhir_paths import Graph, Resource

Find = Callable[[str], Resource | None]
"""What is held of "Patient/7" or "Patient?identifier=system|value"; None when nothing is."""

_MOST_MERGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What lies beyond a message, in the record system that sent it. `missing` is what is not held, with the field
    that leads there, `used` what is held; both fill as references are followed."""

    base: str  # the sender's FHIR base
    find: Find
    missing: dict[str, str] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)

    def seek(self, holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
        """What the reference leads to there; None, and noted as missing, when it is not held."""
        target = self._target(reference)
        if not target:
            return None
        found = self.find(target)
        where = self.missing if found is None else self.used
        where.setdefault(target, _field(holder, reference))
        return found

    def _target(self, reference: Mapping[str, Any]) -> str:
        """Source: FHIR R4 references.html, literal and logical references. "" when it cannot be asked for."""
        literal = text_at(reference, "reference").partition("/_history/")[0].removeprefix(f"{self.base}/")
        kind, _, own_id = literal.partition("/")
        if literal:
            return literal if kind.isascii() and kind.isalpha() and is_id(own_id) else ""
        kind = text_at(reference, "type")
        value = text_at(reference, "identifier", "value")
        if not value or not kind.isascii() or not kind.isalpha():
            return ""
        return f"{kind}?identifier={text_at(reference, 'identifier', 'system')}|{value}"


def graph(resource: Resource, beyond: Beyond | None = None) -> Graph:
    """The orders of a resource and the way to what they refer to: in the resource itself, then `beyond` it."""
    index = _index(resource)

    def step(holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
        found = index.resolve(holder, reference)
        if found is None and beyond is not None:
            found = beyond.seek(holder, reference)
        return found

    def resolve(holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
        found = step(holder, reference)
        return _survivor(found, step) if found is not None and beyond is not None else found

    return Graph(orders=orders_in(resource), resolve=resolve)


def _survivor(
    patient: Resource, step: Callable[[Resource, Mapping[str, Any]], Resource | None]
) -> Resource | None:
    """Who the patient is since records were merged; None while the survivor is not known.

    Source: FHIR R4 Patient.link, replaced-by. A circle of links, and a chain too long, leads to nobody.
    """
    for _ in range(_MOST_MERGES):
        following = _replaced_by(patient)
        if following is None:
            return patient
        survivor = step(patient, following)
        if survivor is None:
            return None
        patient = survivor
    return None


def _replaced_by(resource: Resource) -> Mapping[str, Any] | None:
    links = resource.get("link") if text_at(resource, "resourceType") == "Patient" else None
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("type") == "replaced-by":
            other = link.get("other")
            return other if isinstance(other, dict) else None
    return None


def _field(holder: Resource, reference: Mapping[str, Any]) -> str:
    """ "ServiceRequest.subject": where in its holder the reference stands."""
    kind = text_at(holder, "resourceType")
    for name, value in holder.items():
        if value == reference or (isinstance(value, list) and reference in value):
            return f"{kind}.{name}"
    return kind


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
