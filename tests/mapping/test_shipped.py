"""The shipped modules: their own examples, the golden cases, and what others' messages do to them."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mapping import examples
from gateway.mapping.bundle import read_graph
from gateway.mapping.registry import Modules
from gateway.model.er7 import read_er7
from gateway.model.errors import Malformed
from gateway.model.order import Action, Mapped, Severity

ROOT = Path(__file__).parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"
HL7_CASES = sorted((ROOT / "fixtures" / "hl7").rglob("*.hl7"))
FHIR_CASES = sorted(
    p for p in (ROOT / "fixtures" / "fhir").glob("*.json") if not p.name.endswith(".order.json")
)
NAMES = (
    "accession-ipc1", "accession-obr18", "accession-obr3", "accession-orc3", "appointments-fhir", "clinic-us",
    "orders-fhir", "orders-fhir-r5", "orders-hl7", "patients-hl7", "scheduling-hl7", "tasks-fhir",
)  # fmt: skip

needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason="the shared corpora are not here")


@pytest.fixture(scope="session")
def shipped() -> Modules:
    return Modules.load(ROOT / "mappings", site={"timezone": "Europe/London"})


def test_no_shipped_module_has_a_fault(shipped: Modules) -> None:
    assert shipped.faults == ()
    assert shipped.names == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_module_meets_its_examples(shipped: Modules, name: str) -> None:
    module = shipped.module(name)
    assert len(module.examples) >= 3
    assert examples.run(module) == ()


MR = {"coding": [{"code": "MR"}]}
ENDED = {"start": "2001-01-01", "end": "2019-01-01"}


@pytest.fixture(scope="session")
def of_one_system(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """The shipped modules of a site that names the system of its patient identifiers."""
    folder = tmp_path_factory.mktemp("site") / "mappings"
    shutil.copytree(ROOT / "mappings", folder)
    for name in ("orders-fhir.yaml", "tasks-fhir.yaml"):
        text = (folder / name).read_text(encoding="utf-8")
        assert 'mrn_system: ""' in text
        (folder / name).write_text(text.replace('mrn_system: ""', "mrn_system: urn:mrn"), encoding="utf-8")
    return Modules.load(folder, site={"timezone": "Europe/London"})


def _whose(modules: Modules, *, with_task: bool, **more: Any) -> tuple[str, str]:
    """The identifier and the name that the worklist shows of a patient; empty where a person must decide."""
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"value": "1"}],
        "name": [{"family": "Roe"}],
    }
    order = {
        "resourceType": "ServiceRequest", "id": "9", "status": "active", "intent": "order",
        "contained": [{**patient, **more}], "subject": {"reference": "#p"},
    }  # fmt: skip
    task = {
        "resourceType": "Task", "id": "5", "status": "requested", "intent": "order",
        "focus": {"reference": "ServiceRequest/9"},
    }  # fmt: skip
    (request,) = modules.map_fhir(read_graph([order, task] if with_task else order)).requests
    return request.text("PatientID"), request.text("PatientName")


@pytest.mark.parametrize("with_task", [False, True], ids=["alone", "with a task"])
@pytest.mark.parametrize(
    ("identifiers", "number"),
    [
        ([{"type": MR, "value": "OLD", "period": ENDED}, {"type": MR, "value": "NEW"}], "NEW"),
        ([{"type": MR, "value": "NEW", "period": {"start": "2019-01-01"}}], "NEW"),
        ([{"value": "OLD", "period": ENDED}, {"value": "NEW"}], "NEW"),
        ([{"use": "usual", "value": "OLD", "period": ENDED}, {"use": "usual", "value": "NEW"}], "NEW"),
        ([{"type": MR, "use": "old", "value": "OLD"}, {"value": "NEW"}], "NEW"),
        ([{"type": MR, "value": "OLD", "period": ENDED}, {"value": "INSURANCE"}], ""),
        ([{"type": MR, "value": "OLD", "period": ENDED}, {"use": "usual", "value": "INSURANCE"}], ""),
        ([{"value": "OLD", "period": ENDED}], ""),
        ([{"type": MR, "system": "urn:a"}, {"value": "ONLY"}], "ONLY"),
    ],
)
def test_an_identifier_that_has_ended_is_nobodys(
    shipped: Modules, with_task: bool, identifiers: list[Any], number: str
) -> None:
    assert _whose(shipped, with_task=with_task, identifier=identifiers)[0] == number


@pytest.mark.parametrize("with_task", [False, True], ids=["alone", "with a task"])
@pytest.mark.parametrize(
    ("identifiers", "number"),
    [
        ([{"system": "urn:mrn", "use": "old", "value": "OLD"}, {"system": "urn:mrn", "value": "NEW"}], "NEW"),
        (
            [{"system": "urn:mrn", "period": ENDED, "value": "OLD"}, {"system": "urn:mrn", "value": "NEW"}],
            "NEW",
        ),
        ([{"system": "urn:mrn", "period": ENDED, "value": "OLD"}, {"type": MR, "value": "THEIRS"}], ""),
        ([{"system": "urn:mrn", "use": "old", "value": "OLD"}, {"value": "THEIRS"}], ""),
        ([{"system": "urn:other", "value": "ONLY"}], "ONLY"),
    ],
)
def test_one_of_the_wanted_system_that_has_ended_gives_way_to_its_successor_alone(
    of_one_system: Modules, with_task: bool, identifiers: list[Any], number: str
) -> None:
    assert _whose(of_one_system, with_task=with_task, identifier=identifiers)[0] == number


@pytest.mark.parametrize("with_task", [False, True], ids=["alone", "with a task"])
@pytest.mark.parametrize(
    ("names", "name"),
    [
        (
            [{"use": "official", "family": "Maiden", "period": ENDED}, {"use": "official", "family": "Roe"}],
            "Roe",
        ),
        ([{"use": "usual", "family": "Maiden", "period": ENDED}, {"use": "usual", "family": "Roe"}], "Roe"),
        (
            [{"family": "Maiden", "period": ENDED}, {"family": "Roe", "period": {"start": "2019-01-01"}}],
            "Roe",
        ),
        (
            [{"use": "official", "family": "Maiden", "period": ENDED}, {"use": "maiden", "family": "Maiden"}],
            "",
        ),
    ],
)
def test_a_name_that_has_ended_is_not_shown(
    shipped: Modules, with_task: bool, names: list[Any], name: str
) -> None:
    assert _whose(shipped, with_task=with_task, name=names)[1] == name


@pytest.mark.parametrize("case", HL7_CASES, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_a_message_maps_as_the_golden_file_says(
    shipped: Modules, plain: Callable[[Mapped], Any], case: Path
) -> None:
    expected = json.loads(case.with_suffix(".order.json").read_text(encoding="utf-8"))
    assert plain(shipped.map_hl7(read_er7(case.read_text(encoding="utf-8")))) == expected


@pytest.mark.parametrize("case", FHIR_CASES, ids=lambda case: case.stem)
def test_a_resource_maps_as_the_golden_file_says(
    shipped: Modules, plain: Callable[[Mapped], Any], case: Path
) -> None:
    expected = json.loads(case.with_name(f"{case.stem}.order.json").read_text(encoding="utf-8"))
    graph = read_graph(json.loads(case.read_text(encoding="utf-8")))
    assert plain(shipped.map_fhir(graph)) == expected


@pytest.mark.parametrize(
    ("control", "action"),
    [("NW|||", Action.SCHEDULE), ("SN|||", Action.SCHEDULE), ("XO|||", Action.UPDATE), ("SC|||", Action.UPDATE),
     ("SC||| |SC", Action.UPDATE), ("SC||||CM", Action.COMPLETE), ("XO||||IP", Action.START),
     ("SC||||A", Action.START), ("CA||||CA", Action.CANCEL), ("OC|||", Action.CANCEL), ("DC||||CA", Action.DISCONTINUE),
     ("XX||||CA", Action.CANCEL), ("RP||||CA", Action.CANCEL), ("RU||||DC", Action.DISCONTINUE),
     ("RO||||CM", Action.COMPLETE), ("XO||||ca", Action.CANCEL), ("XX||||HD", Action.HOLD),
     ("NW||||IP", Action.SCHEDULE), ("NW||||A", Action.SCHEDULE), ("NW||||NEW", Action.SCHEDULE),
     ("HD|||", Action.HOLD), ("RL|||", Action.SCHEDULE), ("UC|||", Action.HOLD), ("|||", Action.HOLD)],
)  # fmt: skip
def test_order_control_and_status_become_an_action(shipped: Modules, control: str, action: Action) -> None:
    er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3\rPID|1||7\rORC|{control}"
    assert shipped.map_hl7(read_er7(er7)).requests[0].action is action


@pytest.mark.parametrize("status", ["CA", "CM", "DC", "ER", "RP", "ca"])
@pytest.mark.parametrize("control", ["NW", "NA", "SN", "OR", "CH", "RL"])
def test_a_new_order_that_has_ended_is_held_and_says_so(shipped: Modules, control: str, status: str) -> None:
    er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3\rPID|1||7\rORC|{control}||||{status}"
    (request,) = shipped.map_hl7(read_er7(er7)).requests
    assert request.action is Action.HOLD
    assert "action (ORC-1 with ORC-5) is not in the module's table" in [
        fault.text for fault in request.faults
    ]


@pytest.mark.parametrize("status", ["ER", "RP"])
@pytest.mark.parametrize("control", ["XO", "XX", "RP", "RU", "RO", "SC"])
def test_a_change_of_what_is_unknown_or_replaced_is_held(shipped: Modules, control: str, status: str) -> None:
    er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3\rPID|1||7\rORC|{control}||||{status}"
    (request,) = shipped.map_hl7(read_er7(er7)).requests
    assert (request.action, request.severity) == (Action.HOLD, Severity.HOLD)


@pytest.mark.parametrize("event", ["S12", "S13", "S14"])
@pytest.mark.parametrize(
    ("status", "action"),
    [("Booked", Action.RESCHEDULE), ("Cancelled", Action.UNSCHEDULE), ("CANCELLED", Action.UNSCHEDULE),
     ("Canceled", Action.UNSCHEDULE), ("DELETED", Action.UNSCHEDULE), ("Dc", Action.UNSCHEDULE),
     ("noshow", Action.UNSCHEDULE)],
)  # fmt: skip
def test_an_appointment_that_is_gone_is_taken_back_by_whatever_event(
    shipped: Modules, event: str, status: str, action: Action
) -> None:
    sch = "|".join(["SCH", "A", "B", *[""] * 8, "^^30^20260401", *[""] * 13, status, "P1"])
    er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||SIU^{event}|1|P|2.5\r{sch}\rPID|1||7||DOE^JANE"
    assert shipped.map_hl7(read_er7(er7)).requests[0].action is action


def test_a_patient_arrives_however_the_status_is_written(shipped: Modules) -> None:
    for status in ("Arrived", "ARRIVED", "arrived", "ARR", "ar"):
        sch = "|".join(["SCH", "A", "B", *[""] * 22, status, "P1"])
        er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||SIU^S14|1|P|2.5\r{sch}\rPID|1||7||DOE^JANE"
        assert shipped.map_hl7(read_er7(er7)).requests[0].action is Action.ARRIVE


@pytest.mark.parametrize(
    ("identifiers", "patient", "issuer"),
    [
        ("7", "7", None),
        ("7^^^A~8^^^B^MR", "8", "B"),
        ("99^^^SSA^SS~8^^^^MR", "8", None),
        ("7^^^A^PI~8^^^B^PI", "7", "A"),
        ("^^^A", "OLD", None),
    ],
)
def test_the_issuer_is_that_of_the_identifier_taken(
    shipped: Modules, identifiers: str, patient: str, issuer: str | None
) -> None:
    er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3\rPID|1|OLD|{identifiers}\rORC|NW"
    (request,) = shipped.map_hl7(read_er7(er7)).requests
    assert request.attributes.get("PatientID") == patient
    assert request.attributes.get("IssuerOfPatientID") == issuer


def test_no_fault_names_a_value(shipped: Modules) -> None:
    er7 = (
        "MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3\rPID|1||7||SECRET^X||31/12/1980|SECRET\r"
        "ORC|SECRET|P1\rOBR|1|||||||||||||||||SECRETSECRETSECRET|||SECRET|||SECRET|||^^^SECRET^^SECRET"
    )
    (request,) = shipped.map_hl7(read_er7(er7)).requests
    assert len(request.faults) >= 6
    assert not [fault for fault in request.faults if "SECRET" in str(fault) or "1980" in str(fault)]
    assert all(re.fullmatch(r"orders-hl7\.yaml:\d+", fault.at) for fault in request.faults)


@given(st.text(alphabet='MSHPIDORCBRNTEQ1ZDSPV|^~&\\"\r 0279', max_size=120))
@settings(max_examples=60)
def test_any_message_maps_holds_or_is_skipped(shipped: Modules, body: str) -> None:
    mapped = shipped.map_hl7(
        read_er7(f"MSH|^~\\&|A|B|C|D|2026||ORM^O01|1|P|2.3\rPID|1||7\rORC|NW\rOBR|1{body}")
    )
    assert mapped.requests or mapped.skipped


def _as_text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\r").replace("\n", "\r")


def test_a_site_whose_schedule_makes_the_orders_says_so(tmp_path: Path) -> None:
    for name in ("scheduling-hl7.yaml", "tables/modalities.csv", "tables/stations.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / "mappings" / name).read_bytes())
    (tmp_path / "site.yaml").write_text(
        "mapping: site\nextends: scheduling-hl7\nmatch: {MSH-4.1: HOSP}\naction: {table: {S12: schedule}}\n"
        "fields: {AccessionNumber: {from: SCH-27.1}, Modality: {from: AIS-3.1}}\n"
    )
    modules = Modules.load(tmp_path, site={"timezone": "Europe/London"})
    assert modules.faults == ()
    sch = "|".join(["SCH", "A", "B", *[""] * 22, "Booked", "", "F1"])
    er7 = f"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||SIU^S12|1|P|2.5\r{sch}\rPID|1||7||DOE^JANE\rAIS|1||US|20260401"
    (whole,) = modules.map_hl7(read_er7(er7)).requests
    assert (whole.action, whole.severity, whole.text("AccessionNumber")) == (Action.SCHEDULE, None, "F1")
    (less,) = modules.map_hl7(read_er7(er7.replace("||US|", "|||"))).requests
    assert (less.severity, [fault.keyword for fault in less.faults]) == (Severity.HOLD, ["Modality"])


@needs_corpora
@pytest.mark.corpora
def test_every_message_of_others_maps_holds_or_is_skipped(shipped: Modules) -> None:
    orders = 0
    actions: set[Action] = set()
    for path in sorted((CORPORA / "hl7").rglob("*")):
        if not path.is_file():
            continue
        try:
            mapped = shipped.map_hl7(read_er7(_as_text(path.read_bytes())))
        except Malformed:
            continue
        if mapped.module is None:
            continue
        assert mapped.requests or mapped.skipped, path.name
        for request in mapped.requests:
            orders += 1
            actions.add(request.action)
            assert all(fault.at and fault.text for fault in request.faults)
            if request.severity not in {Severity.HOLD, Severity.REJECT} and request.action is Action.SCHEDULE:
                assert {
                    "PatientID",
                    "PatientName",
                    "AccessionNumber",
                    "Modality",
                } <= request.attributes.keys()
    assert orders > 50
    assert actions >= {
        Action.UPDATE_PATIENT,
        Action.MERGE,
        Action.RESCHEDULE,
        Action.UNSCHEDULE,
        Action.ARRIVE,
    }


@needs_corpora
@pytest.mark.corpora
def test_every_order_resource_of_others_maps_holds_or_is_skipped(shipped: Modules) -> None:
    orders = 0
    for path in sorted((CORPORA / "fhir").rglob("*.json")):
        graph = read_graph(json.loads(path.read_bytes()))
        mapped = shipped.map_fhir(graph)
        orders += len(graph.orders)
        assert len(mapped.requests) + len(mapped.skipped) == len(graph.orders)
    assert orders > 20
