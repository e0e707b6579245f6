"""What a server says that it can do, and which way of writing follows from it.

Source: FHIR R4 capabilitystatement.html; http.html, capabilities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.destination import Destination, Write
from gateway.fhir.exchange import Connection
from gateway.fhir.imaging_study import KIND
from gateway.fhir.verdict import judge_fhir
from gateway.model.errors import Refused

MAX_STATEMENT_BYTES = 16 * 1024 * 1024
"""Servers list every search parameter of every resource."""

_RELEASES = {"4.0": "R4", "4.3": "R4B", "5.0": "R5"}
_ALIKE = {"R4B": "R4"}  # ImagingStudy is the same in both


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What a server offers for studies."""

    release: str  # "R4", "R4B", "R5"; what it says itself when it is another one; "" when it does not say
    is_taken: bool  # whether it knows ImagingStudy at all
    writes: frozenset[Write]


def look(destination: Destination, connection: Connection) -> Offers:
    """What the destination says. Raises Unavailable when it cannot be asked, Refused when it does not say."""
    answer = connection.ask("GET", f"{destination.url}/metadata", max_bytes=MAX_STATEMENT_BYTES)
    judge_fhir(answer)
    return read_offers(answer.tree())


def read_offers(tree: object) -> Offers:
    """What a CapabilityStatement tells. Raises Refused when it is none."""
    if not isinstance(tree, dict) or tree.get("resourceType") != "CapabilityStatement":
        raise Refused("the server shows no CapabilityStatement")
    said = str(tree.get("fhirVersion") or "")
    server = next((rest for rest in _many(tree, "rest") if rest.get("mode") == "server"), {})
    study = next((one for one in _many(server, "resource") if one.get("type") == KIND), None)
    return Offers(
        release=_RELEASES.get(said[:3], said),
        is_taken=study is not None,
        writes=frozenset(_writes(server, study or {})),
    )


def chosen(offers: Offers) -> Write:
    """The best of what is offered; a search before each write for a server that offers nothing."""
    best = (Write.TRANSACTION, Write.CONDITIONAL_UPDATE, Write.CONDITIONAL_CREATE, Write.PUT_ID)
    return next((write for write in best if write in offers.writes), Write.SEARCH_THEN)


def doubts(destination: Destination, offers: Offers) -> tuple[str, ...]:
    """What does not go with the configuration; a server may still do what it does not list."""
    found = []
    release = _ALIKE.get(offers.release, offers.release)
    if release and release != destination.release:
        found.append(f"release: the server speaks {offers.release}, {destination.release} is configured")
    if not offers.is_taken:
        found.append(f"the server does not list {KIND}")
    elif destination.write not in (*offers.writes, Write.AUTO, Write.WEBHOOK):
        found.append(f"write: the server does not offer {destination.write}; it offers {chosen(offers)}")
    return tuple(found)


def _writes(server: Mapping[str, Any], study: Mapping[str, Any]) -> list[Write]:
    acts = {one.get("code") for one in _many(study, "interaction")}
    whole = {one.get("code") for one in _many(server, "interaction")}
    named = {one.get("name") for one in (*_many(server, "operation"), *_many(study, "operation"))}
    is_conditional = study.get("conditionalUpdate") is True
    able = {
        Write.TRANSACTION: "transaction" in whole and is_conditional,
        Write.CONDITIONAL_UPDATE: is_conditional,
        Write.CONDITIONAL_CREATE: study.get("conditionalCreate") is True and "update" in acts,
        Write.PUT_ID: study.get("updateCreate") is True and "update" in acts,
        Write.SEARCH_THEN: {"search-type", "create", "update"} <= acts,
        Write.MESSAGE: "process-message" in named,
    }
    return [write for write, is_able in able.items() if is_able]


def _many(element: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = element.get(name)
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
