from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import Response

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.discovery import chosen, doubts, read_offers
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable


def _capability(
    *interactions: str, whole: tuple[str, ...] = (), version: str = "4.0.1", **flags: bool
) -> dict[str, Any]:
    study = {"type": "ImagingStudy", "interaction": [{"code": code} for code in interactions], **flags}
    rest = {"mode": "server", "resource": [study], "interaction": [{"code": code} for code in whole]}
    return {"resourceType": "CapabilityStatement", "fhirVersion": version, "rest": [rest]}


CASES = [
    (_capability(whole=("transaction",), conditionalUpdate=True), Write.TRANSACTION),
    (_capability("update", conditionalUpdate=True), Write.CONDITIONAL_UPDATE),
    (_capability("update", whole=("transaction",), conditionalCreate=True), Write.CONDITIONAL_CREATE),
    (_capability("update", updateCreate=True), Write.PUT_ID),
    (_capability("update", "create", "search-type"), Write.SEARCH_THEN),
    (_capability(), Write.SEARCH_THEN),
]


@pytest.mark.parametrize(("capability", "expected"), CASES)
def test_the_best_that_is_offered_is_chosen(capability: dict[str, Any], expected: Write) -> None:
    assert chosen(read_offers(capability)) is expected


@pytest.mark.parametrize(("capability", "expected"), CASES[:5])
def test_what_is_chosen_leaves_no_doubt(capability: dict[str, Any], expected: Write) -> None:
    offers = read_offers(capability)
    for write in (expected, Write.AUTO, Write.WEBHOOK):
        assert doubts(Destination(name="e", url="", write=write), offers) == ()


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        (
            _capability("update", conditionalUpdate=True),
            "write: the server does not offer transaction; it offers conditional-update",
        ),
        (
            _capability(whole=("transaction",), conditionalUpdate=True, version="5.0.0"),
            "release: the server speaks R5, R4 is configured",
        ),
        (
            _capability(whole=("transaction",), conditionalUpdate=True, version="1.0.2"),
            "release: the server speaks 1.0.2, R4 is configured",
        ),
        ({"resourceType": "CapabilityStatement"}, "the server does not list ImagingStudy"),
        ({"resourceType": "CapabilityStatement", "rest": 7}, "the server does not list ImagingStudy"),
    ],
)
def test_what_does_not_go_with_the_configuration_is_told(capability: dict[str, Any], expected: str) -> None:
    assert doubts(Destination(name="e", url=""), read_offers(capability)) == (expected,)


def test_r4b_goes_with_r4() -> None:
    capability = _capability(whole=("transaction",), conditionalUpdate=True, version="4.3.0")
    assert doubts(Destination(name="e", url=""), read_offers(capability)) == ()


@pytest.mark.parametrize("tree", [None, [], {}, {"resourceType": "OperationOutcome"}])
def test_a_server_that_shows_nothing_is_refused(tree: object) -> None:
    with pytest.raises(Refused, match="shows no CapabilityStatement"):
        read_offers(tree)


def test_auto_asks_once_and_writes_as_the_server_can(
    ehr: Any, connect: Callable[..., Client], whole: Callable[..., Delivery]
) -> None:
    ehr.capability.update(_capability("update", conditionalCreate=True))
    client = connect(Destination(name="ehr", url=ehr.url, write=Write.AUTO))
    client.send(whole())
    client.send(whole(number=2, images=5))
    assert [one.url.path for one in ehr.asked].count("/fhir/metadata") == 1
    assert any("if-none-exist" in one.headers for one in ehr.asked)
    assert ehr.newest("ImagingStudy")[0]["numberOfInstances"] == 5


def test_auto_waits_for_a_server_that_is_away(
    ehr: Any, connect: Callable[..., Client], whole: Callable[..., Delivery]
) -> None:
    ehr.faults.append(Response(status_code=503))
    client = connect(Destination(name="ehr", url=ehr.url, write=Write.AUTO))
    with pytest.raises(Unavailable):
        client.send(whole())
    ehr.capability.update(_capability(whole=("transaction",), conditionalUpdate=True))
    client.send(whole())
    assert len(ehr.newest("ImagingStudy")) == 1
