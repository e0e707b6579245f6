from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.lookout import Lookout


def test_a_server_that_cannot_do_what_is_asked_is_told_of(ehr: Any, connect: Callable[..., Client]) -> None:
    ehr.capability.update({"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"})
    destination = Destination(name="ehr", url=ehr.url)
    lookout = Lookout((destination,), connect(destination))
    expected = (
        "fhir.destinations.ehr: release: the server speaks R5, R4 is configured",
        "fhir.destinations.ehr: the server does not list ImagingStudy",
    )
    assert lookout.look() == lookout.warnings == expected


def test_a_server_that_is_away_is_no_fault(ehr: Any, connect: Callable[..., Client]) -> None:
    ehr.faults.append(Response(status_code=503))
    destination = Destination(name="ehr", url=ehr.url)
    assert Lookout((destination,), connect(destination)).look() == ()


def test_a_server_of_another_kind_is_told_of(ehr: Any, connect: Callable[..., Client]) -> None:
    ehr.faults.append(JSONResponse({"hello": "you"}))
    destination = Destination(name="ehr", url=ehr.url)
    assert Lookout((destination,), connect(destination)).look() == (
        "fhir.destinations.ehr: the server shows no CapabilityStatement",
    )


def test_a_webhook_is_not_asked(ehr: Any, connect: Callable[..., Client]) -> None:
    destination = Destination(name="ehr", url=ehr.url, write=Write.WEBHOOK)
    assert Lookout((destination,), connect(destination)).look() == ()
    assert ehr.asked == []
