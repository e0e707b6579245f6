import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.entries import read_entries
from gateway.fhir.exact import encode_exact, read_exact
from gateway.fhir.outcome import Issue, render_outcome
from gateway.fhir.strategies import id_of
from gateway.flow import remember
from gateway.flow.ports import Ports
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable

Connect = Callable[..., Client]
Make = Callable[..., Delivery]
ADDRESS = "ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:2.25.1001"
FHIR_WRITES = (
    Write.TRANSACTION,
    Write.CONDITIONAL_UPDATE,
    Write.CONDITIONAL_CREATE,
    Write.SEARCH_THEN,
    Write.PUT_ID,
)


@pytest.fixture(params=FHIR_WRITES)
def write(request: pytest.FixtureRequest) -> Write:
    chosen: Write = request.param
    return chosen


def _to(ehr: Any, write: Write) -> Destination:
    return Destination(name="ehr", url=ehr.url, write=write)


def _asked(ehr: Any) -> list[str]:
    """What was asked of the server, without its base: "PUT ImagingStudy/1"."""
    return [f"{one.method} {one.url.path.removeprefix('/fhir').removeprefix('/')}" for one in ehr.asked]


@pytest.mark.parametrize("is_silent", [False, True])
def test_every_resource_is_there_once_and_refers_to_the_others(
    ehr: Any, connect: Connect, whole: Make, write: Write, is_silent: bool
) -> None:
    ehr.is_silent = is_silent
    client = connect(_to(ehr, write))
    client.send(whole())
    client.send(whole(number=2, images=5))
    (study,), (report,) = ehr.newest("ImagingStudy"), ehr.newest("DiagnosticReport")
    (observation,), (endpoint,) = ehr.newest("Observation"), ehr.newest("Endpoint")
    assert study["numberOfInstances"] == 5
    assert study["endpoint"] == [{"reference": f"Endpoint/{endpoint['id']}"}]
    assert observation["derivedFrom"] == [{"reference": f"ImagingStudy/{study['id']}"}]
    assert report["imagingStudy"] == [{"reference": f"ImagingStudy/{study['id']}"}]
    assert report["result"] == [{"reference": f"Observation/{observation['id']}"}]
    assert study["subject"] == {"reference": "Patient/7"}


def test_a_decimal_keeps_its_digits(ehr: Any, connect: Connect, whole: Make, write: Write) -> None:
    connect(_to(ehr, write)).send(whole())
    assert sum(b'"value":52.10' in body for body in ehr.bodies) == 1


def test_a_payload_of_an_older_release_is_still_taken(
    ehr: Any, connect: Connect, whole: Make, write: Write
) -> None:
    alone = next(one.resource for one in read_entries(whole()) if one.kind == "ImagingStudy")
    study = {name: value for name, value in alone.items() if name != "endpoint"}
    old = replace(whole(), payload=encode_exact(study))
    connect(_to(ehr, write)).send(old)
    assert ehr.studies == {"urn:dicom:uid|urn:oid:2.25.1001": [study]}


@pytest.mark.parametrize("write", [one for one in FHIR_WRITES if one is not Write.PUT_ID])
def test_a_study_that_somebody_else_wrote_is_replaced_not_doubled(
    ehr: Any, connect: Connect, whole: Make, write: Write
) -> None:
    entry = next(one for one in read_entries(whole()) if one.kind == "ImagingStudy")
    ehr.put({**entry.resource, "endpoint": []})
    connect(_to(ehr, write)).send(whole(images=9))
    (study,) = ehr.newest("ImagingStudy")
    assert study["numberOfInstances"] == 9


def test_the_id_that_the_server_gave_is_kept_and_used_with_its_version(
    ehr: Any, connect: Connect, whole: Make, ports: Ports
) -> None:
    destination = _to(ehr, Write.CONDITIONAL_CREATE)
    connect(destination).send(whole())
    created = [one for one in ehr.asked if one.url.path.endswith("/ImagingStudy")]
    assert created[0].headers["if-none-exist"] == "identifier=urn:dicom:uid%7Curn:oid:2.25.1001"
    known = remember.recall(ports, "ehr", ADDRESS)
    assert known is not None
    assert (known.id, known.version) == (ehr.newest("ImagingStudy")[0]["id"], "1")
    ehr.asked.clear()
    connect(destination).send(whole(number=2))
    replaced = next(one for one in ehr.asked if "/ImagingStudy/" in one.url.path)
    assert (replaced.method, replaced.headers["if-match"]) == ("PUT", 'W/"1"')
    assert all(one.method == "PUT" for one in ehr.asked)


def test_a_version_conflict_is_read_again_and_written(ehr: Any, connect: Connect, whole: Make) -> None:
    client = connect(_to(ehr, Write.CONDITIONAL_CREATE))
    client.send(whole())
    (study,) = ehr.newest("ImagingStudy")
    ehr.put({name: value for name, value in study.items() if name != "meta"}, study["id"])
    client.send(whole(number=2, images=7))
    (after,) = ehr.newest("ImagingStudy")
    assert (after["meta"]["versionId"], after["numberOfInstances"]) == ("3", 7)


def test_what_was_deleted_there_is_made_anew(ehr: Any, connect: Connect, whole: Make) -> None:
    for write in (Write.CONDITIONAL_CREATE, Write.SEARCH_THEN):
        ehr.resources.clear()
        client = connect(_to(ehr, write))
        client.send(whole())
        ehr.resources.clear()
        ehr.put({"resourceType": "Patient"})
        ehr.put({"resourceType": "Patient"})
        client.send(whole(number=2))
        assert len(ehr.newest("ImagingStudy")) == 1


@pytest.mark.parametrize("write", [Write.CONDITIONAL_CREATE, Write.SEARCH_THEN])
def test_two_matches_are_for_a_person(ehr: Any, connect: Connect, whole: Make, write: Write) -> None:
    entry = next(one for one in read_entries(whole()) if one.kind == "ImagingStudy")
    ehr.put(dict(entry.resource))
    ehr.put(dict(entry.resource))
    with pytest.raises(Refused, match="several there have the same identifier"):
        connect(_to(ehr, write)).send(whole())
    assert len(ehr.newest("ImagingStudy")) == 2


def test_an_index_that_lags_does_not_double_the_study(ehr: Any, connect: Connect, whole: Make) -> None:
    client = connect(_to(ehr, Write.SEARCH_THEN))
    client.send(whole())
    nothing = JSONResponse({"resourceType": "Bundle", "type": "searchset"})
    ehr.faults += [nothing]  # the first search, for the Endpoint
    client.send(whole(number=2))
    assert len(ehr.newest("Endpoint")) == 1


def test_an_id_of_our_own_is_the_same_each_time_and_a_uuid(ehr: Any, connect: Connect, whole: Make) -> None:
    connect(_to(ehr, Write.PUT_ID)).send(whole())
    (study,) = ehr.newest("ImagingStudy")
    entry = next(one for one in read_entries(whole(number=8)) if one.kind == "ImagingStudy")
    assert study["id"] == id_of(entry)
    assert len(study["id"]) == 36
    assert study["id"][14] == "5"
    assert {len(address.partition("/")[2]) for address in ehr.resources} == {36}


def test_a_transaction_with_one_bad_entry_is_not_done(ehr: Any, connect: Connect, whole: Make) -> None:
    outcome = render_outcome(Issue(severity="error", code="invalid", text="status: unknown code"))
    answers = [{"response": {"status": "201"}}] * 3
    bad = {"response": {"status": "422", "outcome": outcome}}
    ehr.faults.append(JSONResponse({"resourceType": "Bundle", "entry": [*answers, bad]}))
    with pytest.raises(Refused, match="answered 422: status: unknown code"):
        connect(_to(ehr, Write.TRANSACTION)).send(whole())
    ehr.faults.append(JSONResponse({"resourceType": "Bundle", "entry": answers}))
    with pytest.raises(Unavailable, match="without a transaction's response"):
        connect(_to(ehr, Write.TRANSACTION)).send(whole())


def test_a_success_that_tells_of_an_error_is_none(ehr: Any, connect: Connect, whole: Make) -> None:
    outcome = render_outcome(Issue(severity="error", code="invalid", text="not kept"))
    ehr.faults.append(JSONResponse(outcome))
    with pytest.raises(Refused, match="answered 200, but: not kept"):
        connect(_to(ehr, Write.CONDITIONAL_UPDATE)).send(whole())


def test_a_remark_with_a_success_changes_nothing(ehr: Any, connect: Connect, whole: Make) -> None:
    remark = render_outcome(Issue(severity="warning", code="informational", text="no display"))
    study = {k: v for k, v in read_entries(whole())[0].resource.items() if k != "endpoint"}
    old = replace(whole(), payload=encode_exact({**study, "resourceType": "ImagingStudy"}))
    ehr.faults.append(JSONResponse(remark))
    connect(_to(ehr, Write.CONDITIONAL_UPDATE)).send(old)


async def _lost(scope: Scope, receive: Receive, send: Send) -> None:
    """The work is done and the connection breaks before the answer."""
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"{"})


@pytest.mark.parametrize("place", range(6))
def test_an_answer_that_is_lost_after_the_work_leaves_no_second_copy(
    ehr: Any, connect: Connect, whole: Make, write: Write, place: int
) -> None:
    client = connect(_to(ehr, write))
    passing: list[ASGIApp] = []

    class Nth:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            passing.append(self)
            app = _lost if len(passing) == place + 1 else None
            if app is not None:
                ehr.afterwards.append(app)
            await ehr.app(scope, receive, send)

    ehr.faults += [Nth()] * 20
    try:
        client.send(whole())
    except Unavailable:
        client.send(whole())
    ehr.faults.clear()
    ehr.afterwards.clear()
    kinds = ("ImagingStudy", "Observation", "Endpoint", "DiagnosticReport")
    assert [len(ehr.newest(kind)) for kind in kinds] == [1, 1, 1, 1]


def test_resources_in_a_circle_are_refused_where_they_go_one_by_one(
    ehr: Any, connect: Connect, whole: Make
) -> None:
    tree = read_exact(whole().payload)
    tree["entry"][2]["resource"]["extension"] = [{"valueReference": {"reference": "urn:oid:2.25.1001"}}]
    circle = replace(whole(), payload=encode_exact(tree))
    with pytest.raises(Refused, match="circle"):
        connect(_to(ehr, Write.CONDITIONAL_UPDATE)).send(circle)
    assert ehr.asked == []


def test_a_payload_that_is_no_fhir_is_refused(ehr: Any, connect: Connect, whole: Make, write: Write) -> None:
    for payload in (b"", b"{", b"[]", b'{"resourceType":"Patient"}'):
        with pytest.raises(Refused, match="holds no FHIR Bundle"):
            connect(_to(ehr, write)).send(replace(whole(), payload=payload))


def test_a_slow_server_does_not_outlast_the_lease(
    ehr: Any, connect: Connect, whole: Make, ports: Ports
) -> None:
    ticks = iter(range(0, 100_000, 40))
    client = Client((_to(ehr, Write.SEARCH_THEN),), ports, monotonic=lambda: float(next(ticks)), timeout_s=90)
    with pytest.raises(Unavailable, match="too slow"):
        client.send(whole())
    client.close()


def test_one_by_one_the_referred_come_first(ehr: Any, connect: Connect, whole: Make) -> None:
    connect(_to(ehr, Write.CONDITIONAL_UPDATE)).send(whole())
    assert _asked(ehr) == ["PUT Endpoint", "PUT ImagingStudy", "PUT Observation", "PUT DiagnosticReport"]


def test_exact_json_is_the_same_tree() -> None:
    tree = {"a": [1, Decimal("2.50"), {}, [], None, True], "ü": {"x": Decimal("1E+2"), "y": "\u2028\n"}}
    assert encode_exact({"a": 1}) == b'{"a":1}'
    assert read_exact(encode_exact(tree)) == tree
    assert b"2.50" in encode_exact(tree)
    assert json.loads(encode_exact(tree))["ü"]["y"] == "\u2028\n"


def test_an_answer_without_a_body_or_an_id_is_asked_for(ehr: Any, connect: Connect, whole: Make) -> None:
    ehr.is_silent = True
    connect(_to(ehr, Write.CONDITIONAL_CREATE)).send(whole())
    assert "GET ImagingStudy" in _asked(ehr)
    ehr.faults += [Response(status_code=201)]
    ehr.resources.clear()
    with pytest.raises(Unavailable, match="where it put it"):
        connect(Destination(name="b", url=ehr.url, write=Write.CONDITIONAL_CREATE)).send(
            whole(destination="b")
        )


def test_an_answer_that_is_no_search_result_creates_nothing(ehr: Any, connect: Connect, whole: Make) -> None:
    ehr.faults.append(JSONResponse({"resourceType": "Bundle", "type": "transaction-response", "entry": []}))
    with pytest.raises(Unavailable, match="without the result of a search"):
        connect(_to(ehr, Write.SEARCH_THEN)).send(whole())
    assert ehr.resources == {}
