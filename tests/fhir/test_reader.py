import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.fhir.exchange import Connection
from gateway.fhir.reader import MAX_PAGE_BYTES, Reader
from gateway.mapping.fhir_paths import Resource
from gateway.model.errors import GatewayError, NotFound, Refused, Unavailable

BASE = "https://ehr.example/fhir"
FHIR = {"content-type": "application/fhir+json"}
PATIENT = {"resourceType": "Patient", "id": "7", "birthDate": "1980-02-14"}


class Ehr:
    """Answers what it is given to answer, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Unavailable) -> None:
        self.answers = deque(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.popleft()
        if isinstance(answer, Unavailable):
            raise answer
        return answer


Made = Callable[[Ehr], Reader]


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def made(slept: list[float]) -> Iterator[Made]:
    readers: list[Reader] = []

    def make(ehr: Ehr) -> Reader:
        client = httpx.Client(transport=httpx.MockTransport(ehr))
        reader = Reader(BASE, Connection(client, 10.0), sleep=slept.append)
        readers.append(reader)
        return reader

    yield make
    for reader in readers:
        reader.close()


def fhir(tree: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, content=json.dumps(tree), headers={**FHIR, **headers})


def page(*resources: Resource, following: str = "") -> httpx.Response:
    entries = [{"resource": one} for one in resources]
    links = [{"relation": "next", "url": following}] if following else []
    return fhir({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})


def test_a_resource_is_read_by_its_id(made: Made) -> None:
    ehr = Ehr(fhir(PATIENT))
    assert made(ehr).read("Patient/7") == PATIENT
    assert str(ehr.asked[0].url) == f"{BASE}/Patient/7"


def test_a_server_in_trouble_is_asked_again_when_it_wishes(made: Made, slept: list[float]) -> None:
    ehr = Ehr(httpx.Response(429, headers={"retry-after": "3"}), httpx.Response(500), fhir(PATIENT))
    assert made(ehr).read("Patient/7") == PATIENT
    assert slept == [3.0, 1.0]


def test_a_token_that_takes_much_time_is_waited_for_by_nobody(made: Made, slept: list[float]) -> None:
    for before in ((), (httpx.Response(500),)):
        ehr = Ehr(*before, Unavailable("no token", retry_after_s=60))
        with pytest.raises(Unavailable, match="no token") as raised:
            made(ehr).read("Patient/7")
        assert raised.value.retry_after_s == 60


def test_a_server_that_wants_much_time_is_left_alone(made: Made, slept: list[float]) -> None:
    ehr = Ehr(httpx.Response(503, headers={"retry-after": "600"}))
    with pytest.raises(Unavailable) as raised:
        made(ehr).read("Patient/7")
    assert raised.value.retry_after_s == 600
    assert slept == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(404), NotFound),
        (httpx.Response(410), NotFound),
        (fhir({"resourceType": "OperationOutcome", "issue": []}, 404), NotFound),
        (httpx.Response(404, content=b"<OperationOutcome/>", headers={"content-type": "text/xml"}), NotFound),
        (httpx.Response(404, html="<html>Apache Tomcat: 404</html>"), Unavailable),
        (httpx.Response(410, html="<html>it has moved</html>"), Unavailable),
        (httpx.Response(404, json={"message": "no Route matched"}), Unavailable),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), Refused),
        (httpx.Response(403), Refused),
        (fhir({"resourceType": "Practitioner", "id": "7"}), Refused),
        (fhir({**PATIENT, "id": "8"}), Refused),
        (httpx.Response(200, content=b'{"resourceType": "Pat', headers=FHIR), Unavailable),
        (httpx.Response(200, content=b"<html>", headers={"content-type": "text/html"}), Unavailable),
        (httpx.Response(200, content=b" " * (MAX_PAGE_BYTES + 1), headers=FHIR), Unavailable),
    ],
)
def test_what_is_no_answer_is_an_error_and_nobody_else_is_asked(
    made: Made, answer: httpx.Response, error: type[GatewayError]
) -> None:
    ehr = Ehr(
        answer, *(httpx.Response(answer.status_code, content=answer.content, headers=answer.headers),) * 2
    )
    with pytest.raises(error):
        made(ehr).read("Patient/7")
    assert {request.url.host for request in ehr.asked} == {"ehr.example"}


def test_a_resource_that_did_not_change_is_not_sent_again(made: Made) -> None:
    ehr = Ehr(fhir(PATIENT, etag='W/"3"'), httpx.Response(304))
    reader = made(ehr)
    assert reader.read("Patient/7") == reader.read("Patient/7") == PATIENT
    assert ehr.asked[1].headers["if-none-match"] == 'W/"3"'


def test_an_identifier_leads_to_the_one_resource_that_has_it(made: Made) -> None:
    ehr = Ehr(page(PATIENT))
    assert made(ehr).read("Patient?identifier=urn:oid:1.2|A&B") == PATIENT
    assert ehr.asked[0].url.params["identifier"] == "urn:oid:1.2|A&B"


@pytest.mark.parametrize(("found", "error"), [((), NotFound), ((PATIENT, PATIENT), Refused)])
def test_an_identifier_of_none_or_several_leads_nowhere(
    made: Made, found: tuple[Resource, ...], error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        made(Ehr(page(*found))).read("Patient?identifier=|A")


def test_a_search_is_read_to_its_last_page(made: Made) -> None:
    pages = [page(PATIENT, following=f"{BASE}?page={number}") for number in range(9)]
    ehr = Ehr(*pages, page(PATIENT))
    assert len(list(made(ehr).pages("Patient?_count=1"))) == 10
    assert str(ehr.asked[9].url) == f"{BASE}?page=8"


@pytest.mark.parametrize("following", ["https://evil.example/fhir?page=2", "http://ehr.example/fhir?page=2"])
def test_a_page_on_another_host_is_not_asked_for(made: Made, following: str) -> None:
    ehr = Ehr(page(PATIENT, following=following))
    with pytest.raises(Refused):
        list(made(ehr).pages("Patient?_count=1"))
    assert len(ehr.asked) == 1


def test_pages_in_a_circle_end(made: Made) -> None:
    ehr = Ehr(page(PATIENT, following=f"{BASE}?page=1"), page(PATIENT, following=f"{BASE}?page=1"))
    with pytest.raises(Refused, match="circle"):
        list(made(ehr).pages("Patient?_count=1"))
