"""The ways to write what a delivery tells, each so that writing it twice leaves it there once.

Source: FHIR R4 http.html: transaction, conditional create, conditional update, update as create, contention.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gateway.fhir.entries import Entry, read_entries, transaction_of
from gateway.fhir.exact import encode_exact
from gateway.fhir.exchange import Answer
from gateway.fhir.literals import pointed, references
from gateway.fhir.talk import Talk, if_match
from gateway.fhir.verdict import CONFLICTS, GONE, judge, judge_fhir
from gateway.model.delivery import Delivery
from gateway.model.errors import Unavailable
from gateway.model.written import Written

Resource = Mapping[str, Any]

MOST_CONFLICTS = 4
"""So often in a row somebody else may be faster; then it is tried again later."""

_NO_TRANSACTIONS = frozenset({404, 405, 501})
"""A server need not take them. Source: FHIR R4 http.html, transaction."""


def transaction(talk: Talk, delivery: Delivery) -> None:
    """All of it at once; one by one by conditional update where the server takes no transactions."""
    answer = talk.ask_bytes("POST", "", transaction_of(delivery))
    if answer.status in _NO_TRANSACTIONS:
        conditional_update(talk, delivery)
        return
    judge(answer)
    for told in _entry_answers(answer, len(read_entries(delivery))):
        judge(told)


def conditional_update(talk: Talk, delivery: Delivery) -> None:
    """`PUT ImagingStudy?identifier=...`: the server finds it or makes it."""

    def write(entry: Entry, resource: Resource, is_named: bool) -> str:
        answer = talk.ask("PUT", entry.address, resource)
        judge_fhir(answer)
        if not is_named:
            return ""
        known = answer.written(entry.kind) or talk.found(entry.kind, entry.query)
        return _there(known).id

    _one_by_one(talk, delivery, write)


def conditional_create(talk: Talk, delivery: Delivery) -> None:
    """POST with If-None-Exist; the server's id is kept, and later states go there with If-Match."""

    def write(entry: Entry, resource: Resource, _: bool) -> str:
        for _attempt in range(MOST_CONFLICTS):
            known = talk.recall(entry)
            done = _replace(talk, entry, resource, known) if known else _create(talk, entry, resource)
            if done is not None:
                return done
        raise Unavailable("somebody else changed it at each try")

    _one_by_one(talk, delivery, write)


def search_then(talk: Talk, delivery: Delivery) -> None:
    """A search first: nothing found is created, one is replaced, several are for a person."""

    def write(entry: Entry, resource: Resource, _: bool) -> str:
        for _attempt in range(MOST_CONFLICTS):
            # What we made may not be in the server's index yet.
            known = talk.found(entry.kind, entry.query) or talk.recall(entry)
            if known is not None:
                done = _replace(talk, entry, resource, known)
                if done is not None:
                    return done
                continue
            answer = talk.ask("POST", entry.kind, resource)
            judge_fhir(answer)
            made = _there(answer.written(entry.kind) or talk.found(entry.kind, entry.query))
            talk.remember(entry, made)
            return made.id
        raise Unavailable("somebody else changed it at each try")

    _one_by_one(talk, delivery, write)


def put_id(talk: Talk, delivery: Delivery) -> None:
    """`PUT ImagingStudy/{id}` with an id that is made of what identifies it, the same each time."""
    entries = read_entries(delivery)
    places = {entry.full_url: f"{entry.kind}/{id_of(entry)}" for entry in entries}
    for entry in entries:
        resource = {**pointed(entry.resource, places), "id": id_of(entry)}
        judge_fhir(talk.ask("PUT", places[entry.full_url], resource))


def id_of(entry: Entry) -> str:
    """A UUID made of the kind of resource and what identifies it. Source: RFC 4122 4.3; FHIR R4 datatypes.html, id."""
    return str(uuid5(NAMESPACE_URL, entry.address))


def _one_by_one(talk: Talk, delivery: Delivery, write: Callable[[Entry, Resource, bool], str]) -> None:
    """Each entry is written by `write`, which returns the server's id; the third argument says if that is needed."""
    entries = read_entries(delivery)
    named = {literal for entry in entries for literal in references(entry.resource)}
    places: dict[str, str] = {}
    for entry in entries:
        with talk.turn(entry):
            own = write(entry, pointed(entry.resource, places), entry.full_url in named)
        places[entry.full_url] = f"{entry.kind}/{own}"


def _create(talk: Talk, entry: Entry, resource: Resource) -> str | None:
    """The id of what was made; None when there was one already, whose id is kept now: it is to be replaced.

    Raises Refused when there are several (412).
    """
    answer = talk.ask("POST", entry.kind, resource, {"If-None-Exist": entry.query})
    judge_fhir(answer)
    known = _there(answer.written(entry.kind) or talk.found(entry.kind, entry.query))
    talk.remember(entry, known)
    return known.id if answer.status == 201 else None


def _replace(talk: Talk, entry: Entry, resource: Resource, known: Written) -> str | None:
    """The id, once the resource is there; None when it was changed or taken away meanwhile: to be tried anew."""
    address = f"{entry.kind}/{known.id}"
    answer = talk.ask("PUT", address, {**resource, "id": known.id}, if_match(known.version))
    if answer.status in GONE:
        talk.forget(entry)
        return None
    if answer.status in CONFLICTS:
        current = talk.current(entry.kind, known.id)
        if current is None:
            talk.forget(entry)
        else:
            talk.remember(entry, current)
        return None
    judge_fhir(answer)
    talk.remember(entry, answer.written(entry.kind) or Written(id=known.id, version=None))
    return known.id


def _there(known: Written | None) -> Written:
    """Raises Unavailable when the server says that it wrote something and does not have it."""
    if known is None:
        raise Unavailable("the server does not say where it put it")
    return known


def _entry_answers(answer: Answer, count: int) -> list[Answer]:
    """What the server says of each entry. Raises Unavailable when it does not say."""
    try:
        told = [entry["response"] for entry in answer.tree()["entry"]]
        found = [
            # "201 Created" or "201"
            Answer(status=int(one["status"][:3]), body=encode_exact(one.get("outcome")))
            for one in told
        ]
    except (ValueError, KeyError, IndexError, TypeError):
        found = []
    if len(found) != count:
        raise Unavailable(f"answered {answer.status} without a transaction's response")
    return found
