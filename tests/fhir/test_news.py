import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.destinations import fhir_destinations
from gateway.fhir import news
from gateway.fhir.conformity import faults
from gateway.fhir.destination import Destination
from gateway.fhir.exact import encode_exact, read_exact
from gateway.fhir.news import announcer, outgoing, renderer
from gateway.flow import step
from gateway.flow.announce import announce
from gateway.flow.complete import complete_now, complete_quiet
from gateway.flow.place import place
from gateway.flow.ports import Ports
from gateway.model.delivery import Around, Change, Outgoing
from gateway.model.ids import Uid
from gateway.model.lifecycle import State, Step
from gateway.model.measurement import Circumstances, Code, Measurement, Report
from gateway.model.order import Action, ModuleRef, Order, OrderRequest
from gateway.model.study import Received, SeriesFacts, Study, StudyFacts
from gateway.settings import Settings
from gateway.store import outbox, studies
from gateway.web.dicomweb import ROOT

LONDON = ZoneInfo("Europe/London")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "fhir-out"
AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
Make = Callable[..., Order]

EHR = Destination(name="ehr", url="https://ehr.example/fhir", registered=True)
FULL = replace(EHR, report=True, provenance=True, dicomweb_url="https://pacs.example/dicom-web")
FETUS_A, FETUS_B = "A", "B"
MEAN = (
    Code(value="121401", scheme="DCM", meaning="Derivation"),
    Code(value="R-00317", scheme="SRT", meaning="Mean"),
)
REPORT = Report(
    sop_uid="2.25.2002.1",
    is_complete=True,
    is_verified=False,
    is_preliminary=False,
    date="20260623",
    time="104501",
)


def _number(path: str, value: str, subject: str = "", *modifiers: tuple[Code, Code]) -> Measurement:
    return Measurement(
        name=Code(value="11820-8", scheme="LN", meaning="Biparietal Diameter"),
        value=value,
        unit=Code(value="mm", scheme="UCUM", meaning="millimeter"),
        context=("OB-GYN Ultrasound Procedure Report", "Fetal Biometry"),
        path=path,
        circumstances=Circumstances(subject=subject, modifiers=modifiers, report=REPORT),
    )


@pytest.fixture
def order(order_factory: Make) -> Order:
    coded = {
        "CodeValue": "45036003",
        "CodingSchemeDesignator": "SCT",
        "CodeMeaning": "Ultrasonography of abdomen",
    }
    return order_factory(
        accession="A1",
        source="ehr",
        service_request="ServiceRequest/9",
        subject="Patient/7",
        issuer="GENHOSP",
        study_uid="2.25.1001",
        AdmissionID="V77",
        ReasonForTheRequestedProcedure="pain",
        ReferringPhysicianName="Who^Anna^^Dr",
        RequestedProcedureCodeSequence=(coded,),
        IssuerOfAccessionNumberSequence=({"UniversalEntityID": "1.2.3.4", "UniversalEntityIDType": "ISO"},),
    )


@pytest.fixture
def whole(single: Study) -> Study:
    """The picture, with all that its header can say."""
    facts = SeriesFacts(
        date="20260623",
        time="103020",
        body_part="KIDNEY",
        laterality="R",
        performing="Who^Anna",
        operators="Tech^Tom",
        station="ROOM1",
    )
    (series,) = single.series
    instances = tuple(replace(one, title="ORIGINAL PRIMARY") for one in series.instances)
    return replace(
        single,
        facts=StudyFacts(zone_offset="+0200", referring="Who^Anna^^Dr"),
        series=(replace(series, facts=facts, description="Right kidney", instances=instances),),
    )


@pytest.fixture
def measured(several: Study) -> Study:
    """Twins, each measured more than once, and something that could not be measured."""
    absent = replace(
        _number("1.2.9", ""),
        name=Code(value="18185-9", scheme="LN", meaning="Gestational Age"),
        unit=None,
        circumstances=Circumstances(
            qualifier=Code(value="114006", scheme="DCM", meaning="Measurement failure"), report=REPORT
        ),
    )
    private = replace(_number("1.2.10", "7"), name=Code(value="X1", scheme="99ACME", meaning="Acme index"))
    numbers = (
        _number("1.2.1", "52.10", FETUS_A),
        _number("1.2.2", "52.20", FETUS_A, MEAN),
        _number("1.2.3", "49.00", FETUS_B),
        absent,
        private,
    )
    return replace(several, measurements=numbers)


def _tree(news: Outgoing) -> Any:
    return read_exact(news.payload)


def _resources(news: Outgoing, kind: str) -> list[Any]:
    found = [entry["resource"] for entry in _tree(news)["entry"]]
    return [one for one in found if one["resourceType"] == kind]


def _golden(name: str, destination: Destination, news: tuple[Outgoing, ...]) -> None:
    (told,) = news
    path = FIXTURES / f"{name}.{destination.release.lower()}.json"
    assert _tree(told) == read_exact(path.read_bytes())
    for entry in _tree(told)["entry"]:
        assert faults(entry["resource"], destination.release) == ()


@pytest.fixture(params=["R4", "R5"])
def to(request: pytest.FixtureRequest) -> Destination:
    return replace(FULL, release=request.param)


def test_an_ordered_picture_is_told_as_expected(whole: Study, order: Order, to: Destination) -> None:
    plain = replace(to, dicomweb_url="", provenance=False)
    _golden("single-us", plain, outgoing(whole, (order,), (plain,), LONDON))


def test_a_study_without_order_is_told_as_expected(several: Study, to: Destination) -> None:
    _golden("several-series", to, outgoing(several, (), (to,), LONDON))


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_our_own_dicomweb_is_told_at_our_public_address(whole: Study, order: Order, release: str) -> None:
    told = {"url": "https://ehr.example/fhir", "release": release, "dicomweb": True}
    settings = Settings.model_validate(
        {"http": {"public_url": "https://gateway.example/"}, "fhir": {"destinations": {"ehr": told}}}
    )
    (destination,) = fhir_destinations(settings)
    news = outgoing(whole, (order,), (destination,), LONDON)
    _golden("own-dicomweb", destination, news)
    (endpoint,) = _resources(news[0], "Endpoint")
    assert endpoint["address"] == f"https://gateway.example{ROOT}"


def test_measured_twins_are_told_as_expected(measured: Study, order: Order, to: Destination) -> None:
    _golden("measured", to, outgoing(measured, (order,), (to,), LONDON))


def test_a_study_in_doubt_is_told_as_expected(measured: Study, order: Order, to: Destination) -> None:
    doubtful = replace(measured, doubt="the images name another patient")
    news = outgoing(doubtful, (order,), (to,), LONDON)
    _golden("withdrawn", to, news)
    for secret in (b"MRN1", b"Patient/7", b"52.", b"ServiceRequest"):
        assert secret not in news[0].payload


@pytest.mark.parametrize(("action", "name"), [("order.send", "registered"), ("order.cancel", "cancelled")])
def test_a_study_without_images_is_told_as_expected(
    order: Order, to: Destination, action: str, name: str
) -> None:
    now = replace(order, state=State.CANCELLED) if action == "order.cancel" else order
    around = Around(orders=(now,), told=frozenset({("ehr", "ImagingStudy")}))
    _golden(name, to, announcer((to,), LONDON)(_change(now, action, around)))


def test_every_digit_of_a_number_is_told(measured: Study) -> None:
    (news,) = outgoing(measured, (), (EHR,), LONDON)
    values = [
        one["valueQuantity"]["value"] for one in _resources(news, "Observation") if "valueQuantity" in one
    ]
    assert list(map(str, values)) == ["52.20", "49.00", "7"]
    assert b'"value":49.00' in news.payload
    assert encode_exact(_tree(news)) == news.payload


def test_every_state_of_a_study_has_the_same_key_and_finds_the_same(measured: Study, order: Order) -> None:
    states = (
        *announcer((EHR,), LONDON)(_change(order, "order.send", Around(orders=(order,)))),
        *outgoing(replace(measured, study_uid=order.study_uid), (order,), (EHR,), LONDON),
    )
    assert {news.key for news in states} == {order.study_uid}
    assert len({_tree(news)["entry"][0]["request"]["url"] for news in states}) == 1


def test_entries_refer_to_one_another_by_what_the_bundle_calls_them(measured: Study) -> None:
    (news,) = outgoing(measured, (), (FULL,), LONDON)
    entries = _tree(news)["entry"]
    names = {entry["resource"]["resourceType"]: entry["fullUrl"] for entry in entries}
    assert len({entry["fullUrl"] for entry in entries}) == len(entries)
    assert len({entry["request"]["url"] for entry in entries}) == len(entries)
    (study,) = _resources(news, "ImagingStudy")
    assert study["endpoint"][0]["reference"] == names["Endpoint"]
    (report,) = _resources(news, "DiagnosticReport")
    assert report["imagingStudy"][0]["reference"] == names["ImagingStudy"] == "urn:oid:2.25.1002"
    told = [entry["fullUrl"] for entry in entries if entry["resource"]["resourceType"] == "Observation"]
    assert [one["reference"] for one in report["result"]] == told
    (provenance,) = _resources(news, "Provenance")
    targets = [names["ImagingStudy"], *told, names["DiagnosticReport"]]
    assert [one["reference"] for one in provenance["target"]] == targets


def test_a_report_is_final_only_when_a_person_answers_for_it(measured: Study) -> None:
    (news,) = outgoing(measured, (), (FULL,), LONDON)
    assert _resources(news, "DiagnosticReport")[0]["status"] == "preliminary"
    verified = replace(REPORT, is_verified=True)
    numbers = tuple(
        replace(one, circumstances=replace(one.circumstances, report=verified))
        for one in measured.measurements
    )
    (news,) = outgoing(replace(measured, measurements=numbers), (), (FULL,), LONDON)
    assert _resources(news, "DiagnosticReport")[0]["status"] == "final"


def test_what_is_not_wanted_is_not_told(measured: Study) -> None:
    (news,) = outgoing(measured, (), (replace(EHR, observations=False, report=True),), LONDON)
    assert [entry["resource"]["resourceType"] for entry in _tree(news)["entry"]] == ["ImagingStudy"]


def test_a_study_rests_on_no_order_that_was_taken_back(whole: Study, order: Order) -> None:
    gone = replace(order, accession="A2", service_request="ServiceRequest/10", state=State.CANCELLED)
    (news,) = outgoing(whole, (gone, order), (EHR,), LONDON)
    (registered,) = announcer((EHR,), LONDON)(_change(order, "order.send", Around(orders=(gone, order))))
    for one in (news, registered):
        (study,) = _resources(one, "ImagingStudy")
        assert [asked["reference"] for asked in study["basedOn"]] == ["ServiceRequest/9"]
        assert [name["value"] for name in study["identifier"][1:]] == ["A1"]
    (alone,) = outgoing(whole, (gone,), (EHR,), LONDON)
    assert _resources(alone, "ImagingStudy")[0]["basedOn"][0]["reference"] == "ServiceRequest/10"


# The life of a study.


def _change(order: Order, action: str, around: Around) -> Change:
    return Change(order=order, action=action, evidence="", at=AT, messages=lambda: (), around=lambda: around)


def _statuses(news: tuple[Outgoing, ...]) -> list[str]:
    return [_resources(one, "ImagingStudy")[0]["status"] for one in news]


def test_only_those_that_register_hear_of_an_order_that_is_sent(order: Order) -> None:
    quiet = replace(EHR, name="vna", registered=False)
    news = announcer((EHR, quiet), LONDON)(_change(order, "order.send", Around(orders=(order,))))
    assert [(one.destination, one.order_id) for one in news] == [("ehr", order.id)]
    assert _statuses(news) == ["registered"]


def test_an_order_that_is_sent_again_does_not_hide_its_images(order: Order, single: Study) -> None:
    around = Around(study=single, orders=(order,))
    assert announcer((EHR,), LONDON)(_change(order, "order.send", around)) == ()


def test_a_study_that_nobody_was_told_of_is_not_cancelled(order: Order) -> None:
    gone = replace(order, state=State.CANCELLED)
    assert announcer((EHR,), LONDON)(_change(gone, "order.cancel", Around(orders=(gone,)))) == ()


def test_a_study_is_cancelled_with_the_last_of_its_orders(order: Order) -> None:
    told = frozenset({("ehr", "ImagingStudy")})
    gone = replace(order, state=State.DISCONTINUED)
    tell = announcer((EHR,), LONDON)
    assert tell(_change(gone, "order.discontinue", Around(orders=(gone, order), told=told))) == ()
    assert _statuses(tell(_change(gone, "order.discontinue", Around(orders=(gone, gone), told=told)))) == [
        "cancelled"
    ]


def test_a_study_with_images_is_never_cancelled(order: Order, single: Study) -> None:
    gone = replace(order, state=State.DISCONTINUED)
    around = Around(study=single, orders=(gone,), told=frozenset({("ehr", "ImagingStudy")}))
    assert announcer((EHR,), LONDON)(_change(gone, "order.discontinue", around)) == ()


def test_who_knows_of_a_study_is_told_of_its_patients_merge(order: Order, single: Study) -> None:
    told = frozenset({("ehr", "ImagingStudy")})
    moved = replace(order, subject="", patient=replace(order.patient, patient_id="NEW"))
    other = replace(EHR, name="vna")
    tell = announcer((EHR, other), LONDON)
    (news,) = tell(_change(moved, "order.merge", Around(study=single, orders=(moved,), told=told)))
    assert (news.destination, _resources(news, "ImagingStudy")[0]["status"]) == ("ehr", "available")
    assert _resources(news, "ImagingStudy")[0]["subject"]["identifier"]["value"] == "NEW"
    (registered,) = tell(_change(moved, "order.merge", Around(orders=(moved,), told=told)))
    assert _statuses((registered,)) == ["registered"]


# With the store.

OBJECT = Received(
    sop_uid=Uid("1.2.3.1.1"), sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"), series_uid=Uid("1.2.3.1"),
    study_uid=Uid("1.2.3"), transfer_syntax=Uid("1.2.840.10008.1.2.1"), modality="US", patient_id="MRN1", issuer="",
    patient_name="Doe^Jane", birth_date="19800214", sex="F", accession="A1", study_id="", study_date="20261123",
    study_time="101500", zone_offset="", study_description="", series_number="1", series_description="",
    instance_number="1", frames=1, calling_ae="US1",
)  # fmt: skip


@pytest.fixture
def telling(ports: Ports) -> Ports:
    return replace(ports, announce=announcer((EHR,), LONDON))


def _store(ports: Ports, received: Received, order: Order | None, doubt: str = "") -> Study:
    with ports.database.write() as tx:
        stored = studies.StoredFile(path="", size=1, sha256="")
        study_id = studies.add(tx, received, stored, AT, ports.clock())
        studies.link(tx, study_id, order.id if order else None, doubt, ports.clock())
        return studies.show(tx, study_id)


def _told(ports: Ports) -> list[str]:
    with ports.database.read() as tx:
        found = reversed(outbox.newest(tx))
        return [
            json.loads(one.payload)["entry"][0]["resource"]["status"]
            for one in found
            if one.kind == "ImagingStudy"
        ]


def _take(ports: Ports, order: Order, wanted: Step) -> Order:
    with ports.database.write() as tx:
        return step.take(tx, order, wanted, actor="t", evidence="t", at=ports.clock(), ports=ports)


def test_a_study_goes_from_registered_to_available_and_grows(
    telling: Ports, order_factory: Make, clock: Any
) -> None:
    render = renderer((EHR,), LONDON)
    order = order_factory(state=State.SCHEDULED, study_uid="1.2.3")
    _take(telling, order, Step.SEND)
    assert _told(telling) == ["registered"]
    study = _store(telling, OBJECT, order)
    complete_now(telling, study.id, render, actor="t")
    _store(telling, replace(OBJECT, sop_uid=Uid("1.2.3.1.2")), order)
    clock.advance(seconds=100)
    assert complete_quiet(telling, render) == 1
    assert _told(telling) == ["registered", "available", "available"]


def test_an_order_given_up_before_the_first_image_cancels_its_study(
    telling: Ports, order_factory: Make
) -> None:
    order = order_factory(state=State.SCHEDULED, study_uid="1.2.3")
    sent = _take(telling, order, Step.SEND)
    _take(telling, sent, Step.DISCONTINUE)
    assert _told(telling) == ["registered", "cancelled"]


def _studies_told(ports: Ports) -> list[tuple[str, str]]:
    with ports.database.read() as tx:
        found = [one for one in reversed(outbox.newest(tx)) if one.kind == "ImagingStudy"]
    return [(one.key, json.loads(one.payload)["entry"][0]["resource"]["status"]) for one in found]


def test_a_study_that_came_under_another_uid_takes_back_the_one_that_was_expected(
    telling: Ports, order_factory: Make
) -> None:
    order = order_factory(state=State.SCHEDULED, study_uid="1.2.88")
    sent = _take(telling, order, Step.SEND)
    _take(telling, sent, Step.START)
    complete_now(telling, _store(telling, OBJECT, order).id, renderer((EHR,), LONDON), actor="t")
    assert _studies_told(telling) == [
        ("1.2.88", "registered"),
        ("1.2.3", "available"),
        ("1.2.88", "cancelled"),
    ]


def test_an_order_that_gets_its_senders_uid_takes_back_the_study_under_ours(
    telling: Ports, order_factory: Make
) -> None:
    order = _take(telling, order_factory(state=State.SCHEDULED, study_uid="2.25.7"), Step.SEND)
    request = OrderRequest(
        action=Action.UPDATE, provenance=(), faults=(), module=ModuleRef(name="test", version="0"),
        attributes={"AccessionNumber": order.accession, "StudyInstanceUID": "1.2.99"},
    )  # fmt: skip
    with telling.database.write() as tx:
        place(
            tx, telling, [request], source=order.source, message_id=order.message_id, actor="t", at=telling.clock()
        )  # fmt: skip
    assert _studies_told(telling) == [
        ("2.25.7", "registered"),
        ("2.25.7", "cancelled"),
        ("1.2.99", "registered"),
    ]


@pytest.mark.parametrize("reason", ["a sister is expected", "images are there", "nobody was told"])
def test_a_study_that_may_come_yet_or_was_never_told_is_not_taken_back(
    telling: Ports, order_factory: Make, reason: str
) -> None:
    order = order_factory(state=State.SCHEDULED, study_uid="1.2.88")
    if reason != "nobody was told":
        _take(telling, order, Step.SEND)
    if reason == "a sister is expected":
        order_factory(accession="A2", state=State.SENT, study_uid="1.2.88")
    if reason == "images are there":
        _store(telling, replace(OBJECT, study_uid=Uid("1.2.88"), sop_uid=Uid("1.2.88.1.1")), None)
    complete_now(telling, _store(telling, OBJECT, order).id, renderer((EHR,), LONDON), actor="t")
    assert "cancelled" not in [status for _, status in _studies_told(telling)]


def test_a_doubt_that_comes_after_the_news_takes_it_back(
    telling: Ports, order_factory: Make, clock: Any
) -> None:
    render = renderer((EHR,), LONDON)
    order = order_factory(study_uid="1.2.3")
    complete_now(telling, _store(telling, OBJECT, order).id, render, actor="t")
    later = replace(OBJECT, sop_uid=Uid("1.2.3.1.2"), patient_id="OTHER")
    _store(telling, later, None, doubt="the images name another patient")
    clock.advance(seconds=100)
    complete_quiet(telling, render)
    assert _told(telling) == ["available", "entered-in-error"]


@pytest.mark.parametrize("action", ["order.merge", "order.unmerge"])
def test_who_was_told_of_a_study_hears_whose_it_is_now(
    telling: Ports, order_factory: Make, clock: Any, action: str
) -> None:
    order = order_factory(study_uid="1.2.3")
    complete_now(telling, _store(telling, OBJECT, order).id, renderer((EHR,), LONDON), actor="t")
    with telling.database.write() as tx:
        announce(tx, telling, order, action, "message:1", telling.clock())
    assert _told(telling) == ["available", "available"]


def test_a_doubt_from_the_start_is_told_to_nobody(telling: Ports, order_factory: Make) -> None:
    study = _store(telling, OBJECT, None, doubt="the images name another patient")
    complete_now(telling, study.id, renderer((EHR,), LONDON), actor="t")
    assert _told(telling) == []


@pytest.mark.parametrize("missing", ["Observation", "Endpoint"])
def test_nothing_refers_to_what_does_not_leave(
    measured: Study, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (whole,) = outgoing(measured, (), (FULL,), LONDON)
    gone = {e["fullUrl"] for e in _tree(whole)["entry"] if e["resource"]["resourceType"] == missing}
    assert gone
    assert all(name in whole.payload.decode() for name in gone)
    monkeypatch.setattr(
        news, "sound", lambda resource, *_: None if resource["resourceType"] == missing else resource
    )
    (left,) = outgoing(measured, (), (FULL,), LONDON)
    assert _resources(left, missing) == []
    assert [name for name in gone if name in left.payload.decode()] == []
    assert len(_resources(left, "ImagingStudy")) == 1
