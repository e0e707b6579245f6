import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.responses import JSONResponse, Response

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.entries import read_entries
from gateway.fhir.exact import encode_exact
from gateway.fhir.messages_out import render_message, render_webhook
from gateway.fhir.news import outgoing
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable
from gateway.model.measurement import Circumstances, Code, Measurement, Report
from gateway.model.study import Study

Connect = Callable[..., Client]
Make = Callable[..., Delivery]


@pytest.fixture
def messaging(ehr: Any) -> Destination:
    return Destination(name="ehr", url=ehr.url, write=Write.MESSAGE)


@pytest.fixture
def hook(ehr: Any) -> Destination:
    url = ehr.url.removesuffix("/fhir") + "/hook"
    return Destination(name="ehr", url=url, write=Write.WEBHOOK, signing_secret="k3y")


def test_a_message_has_the_study_in_focus_and_all_else_with_it(
    ehr: Any, connect: Connect, whole: Make, messaging: Destination
) -> None:
    connect(messaging).send(whole())
    (asked,), (told,) = ehr.asked, ehr.taken
    assert asked.url.path == "/fhir/$process-message"
    assert (told["resourceType"], told["type"]) == ("Bundle", "message")
    header = told["entry"][0]["resource"]
    assert header["eventCoding"]["code"] == "R01"
    assert header["focus"] == [{"reference": "urn:oid:2.25.1001"}]
    assert header["source"]["endpoint"]
    assert "urn:oid:2.25.1001" in [entry["fullUrl"] for entry in told["entry"]]
    assert all("request" not in entry for entry in told["entry"])
    assert len(told["entry"]) == 5
    assert b"52.10" in ehr.bodies[0]


def test_a_message_that_is_sent_again_is_the_same_message(
    ehr: Any, connect: Connect, whole: Make, messaging: Destination
) -> None:
    client = connect(messaging)
    client.send(whole())
    client.send(replace(whole(), attempts=2))
    client.send(whole(number=2, images=5))
    first, again, newer = (one["entry"][0]["resource"]["id"] for one in ehr.taken)
    assert first == again != newer


def test_r5_names_the_endpoint_otherwise(whole: Make) -> None:
    header = render_message(whole(), "R5")["entry"][0]["resource"]
    assert "endpointUrl" in header["source"]


@pytest.mark.parametrize(
    ("code", "error"), [("ok", None), ("transient-error", Unavailable), ("fatal-error", Refused)]
)
def test_what_the_receiver_replies_counts(
    ehr: Any, connect: Connect, whole: Make, messaging: Destination, code: str, error: type[Exception] | None
) -> None:
    reply = {"resourceType": "MessageHeader", "response": {"identifier": "x", "code": code}}
    bundle = {"resourceType": "Bundle", "type": "message", "entry": [{"resource": reply}]}
    ehr.faults.append(JSONResponse(bundle))
    if error is None:
        connect(messaging).send(whole())
    else:
        with pytest.raises(error):
            connect(messaging).send(whole())


@pytest.mark.parametrize(("code", "error"), [("transient-error", Unavailable), ("fatal-error", Refused)])
def test_what_the_receiver_says_of_an_error_is_shown_without_the_patient(
    ehr: Any, connect: Connect, whole: Make, messaging: Destination, code: str, error: type[Exception]
) -> None:
    response = {"identifier": "x", "code": code, "details": {"reference": "OperationOutcome/1"}}
    said = {"severity": "error", "code": "not-found", "diagnostics": "Patient/7 is not known here"}
    resources: list[dict[str, Any]] = [
        {"resourceType": "MessageHeader", "response": response},
        {"resourceType": "OperationOutcome", "issue": [said]},
    ]
    entries = [{"resource": one} for one in resources]
    ehr.faults.append(JSONResponse({"resourceType": "Bundle", "type": "message", "entry": entries}))
    with pytest.raises(error, match=r"the message( now)?: … is not known here$"):
        connect(messaging).send(whole())


def test_a_webhook_is_told_in_plain_json(ehr: Any, connect: Connect, whole: Make, hook: Destination) -> None:
    connect(hook).send(whole())
    (told,) = ehr.taken
    assert told == {
        "event": "study",
        "delivery": 1,
        "study_uid": "2.25.1001",
        "status": "available",
        "patient": {"reference": "Patient/7"},
        "modalities": ["US"],
        "series": [{"uid": "2.25.1001.2", "modality": "US", "instance_count": 3}],
        "series_count": 1,
        "instance_count": 3,
        "measurements": [
            {
                "code": "11820-8",
                "system": "http://loinc.org",
                "name": "Biparietal",
                "value": 52.1,
                "unit": "mm",
                "status": "preliminary",
            }
        ],
        "addresses": ["https://gw.example/dicom-web"],
    }
    assert b'"value":52.10' in ehr.bodies[0]


def test_a_webhook_says_who_is_meant(ehr: Any, connect: Connect, whole: Make, hook: Destination) -> None:
    study = next(dict(one.resource) for one in read_entries(whole()) if one.kind == "ImagingStudy")
    accession = {"type": {"coding": [{"code": "ACSN"}]}, "value": "A1"}
    study |= {
        "identifier": [*study["identifier"], accession],
        "subject": {"identifier": {"value": "MRN1", "assigner": {"display": "GENHOSP"}}},
        "basedOn": [{"reference": "ServiceRequest/9", "identifier": {"value": "A1"}}],
        "modality": [{"coding": [{"code": "CT"}]}],
    }
    connect(hook).send(replace(whole(), payload=encode_exact(study)))
    (told,) = ehr.taken
    assert told["accessions"] == ["A1"]
    assert told["patient"] == {"id": "MRN1", "system": "GENHOSP"}
    assert told["orders"] == [{"reference": "ServiceRequest/9", "id": "A1"}]
    assert told["modalities"] == ["CT"]


def test_a_webhook_tells_twins_and_sides_apart(whole: Make, hook: Destination, single: Study) -> None:
    def code(value: str, meaning: str, scheme: str = "SCT") -> Code:
        return Code(value=value, scheme=scheme, meaning=meaning)

    report = Report(sop_uid="1.2.3", is_complete=True, is_verified=True, is_preliminary=False)
    site = code("363698007", "Finding Site"), code("64033007", "Kidney")
    side = code("272741003", "Laterality"), code("7771000", "Left")
    mean = code("121401", "Derivation", "DCM"), code("373098007", "Mean")
    numbers = tuple(
        Measurement(
            name=code("11820-8", "Length", "LN"),
            value=value,
            unit=None,
            context=(),
            path=path,
            circumstances=Circumstances(subject=subject, modifiers=modifiers, report=report),
        )
        for value, path, subject, modifiers in (
            ("52", "1.1", "A", ()),
            ("49", "1.2", "B", ()),
            ("101", "1.3", "", (site, side, mean)),
            ("99", "1.4", "", (site,)),
        )
    )
    (news,) = outgoing(replace(single, measurements=numbers), (), (hook,), ZoneInfo("Europe/London"))
    told = render_webhook(replace(whole(), key=news.key, payload=news.payload))["measurements"]
    common = {"code": "11820-8", "system": "http://loinc.org", "name": "Length", "status": "final"}
    assert told == [
        {**common, "value": 52, "subject": "A"},
        {**common, "value": 49, "subject": "B"},
        {**common, "value": 101, "site": "Kidney, Left", "side": "Left", "derivation": "Mean"},
        {**common, "value": 99, "site": "Kidney"},
    ]


def test_what_a_webhook_is_told_is_signed_and_numbered(
    ehr: Any, connect: Connect, whole: Make, hook: Destination
) -> None:
    connect(hook).send(whole(number=12))
    (asked,) = ehr.asked
    expected = hmac.new(b"k3y", ehr.bodies[0], hashlib.sha256).hexdigest()
    assert asked.headers["x-gateway-signature"] == f"sha256={expected}"
    assert asked.headers["x-gateway-delivery"] == "12"
    assert asked.headers["content-type"] == "application/json"
    connect(replace(hook, signing_secret="")).send(whole())
    assert "x-gateway-signature" not in ehr.asked[1].headers


def test_any_success_of_a_webhook_counts(ehr: Any, connect: Connect, whole: Make, hook: Destination) -> None:
    ehr.faults.append(Response("<p>thank you</p>", media_type="text/html"))
    connect(hook).send(whole())
    ehr.faults.append(Response(status_code=400))
    with pytest.raises(Refused, match="answered 400"):
        connect(hook).send(whole())
    ehr.faults.append(Response(status_code=429, headers={"Retry-After": "7"}))
    with pytest.raises(Unavailable) as caught:
        connect(hook).send(whole())
    assert caught.value.retry_after_s == 7


def test_no_signing_secret_shows(hook: Destination) -> None:
    assert "k3y" not in repr(hook)


def test_news_without_a_study_is_refused(connect: Connect, whole: Make, hook: Destination) -> None:
    bundle = json.dumps({"resourceType": "Bundle", "type": "transaction"}).encode()
    with pytest.raises(Refused, match="tells of no study"):
        connect(hook).send(replace(whole(), payload=bundle))
