"""One order mapped: values, provenance, faults."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.mapping.bundle import read_graph
from gateway.mapping.registry import Modules
from gateway.model.er7 import read_er7
from gateway.model.order import Action, OrderRequest, Severity

ModulesOf = Callable[..., Modules]

HEAD = "MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3"
FRAME = """\
mapping: m
source: hl7v2
match: {{MSH-9.1: ORM}}
site: {{authority: A}}
action: {{from: ORC-1, pair: ORC-5, table: {{NW: schedule, NW_IP: start, NW_CM: unmapped, XO: update, CA: cancel}}}}
tables:
  room: {{R1: US1, R2: ""}}
fields:
{fields}
"""

Request = Callable[..., OrderRequest]


@pytest.fixture
def request_of(modules_of: ModulesOf) -> Request:
    """What a module with the given fields makes of the first order of the given segments."""

    def make(fields: str, *segments: str) -> OrderRequest:
        lines = "\n".join(f"  {line}" for line in fields.strip().splitlines())
        modules = modules_of({"m.yaml": FRAME.format(fields=lines)})
        assert modules.faults == ()
        return modules.map_hl7(read_er7("\r".join([HEAD, *(segments or ("ORC|NW",))]))).requests[0]

    return make


def test_the_first_alternative_with_a_value_wins_and_the_empty_ones_are_told(request_of: Request) -> None:
    request = request_of("AccessionNumber: [OBR-18, OBR-20, ORC-3.1]", "ORC|NW||F1^RIS", "OBR|1")
    assert request.text("AccessionNumber") == "F1"
    provenance = next(p for p in request.provenance if p.keyword == "AccessionNumber")
    assert provenance.empty == ("OBR-18", "OBR-20")
    assert (provenance.raw, str(provenance.place), provenance.at) == ("F1", "line 2 ORC-3.1", "m.yaml:9")


def test_the_trace_names_every_step(request_of: Request) -> None:
    field = (
        "ScheduledStationAETitle: {from: {from: OBR-21, do: [upper]}, do: [strip, {prefix: R}], table: room}"
    )
    request = request_of(field, "ORC|NW", "OBR|1" + "|" * 20 + "1")
    provenance = next(p for p in request.provenance if p.keyword == "ScheduledStationAETitle")
    assert provenance.steps == ("upper", "strip", "prefix R", "table room")
    assert (provenance.value, provenance.raw) == ("US1", "1")


def test_the_action_is_traced_too(request_of: Request) -> None:
    request = request_of("PatientID: PID-3", "ORC|NW||||IP")
    assert request.action is Action.START
    assert next(p for p in request.provenance if p.keyword == "action").raw == "NW"


@pytest.mark.parametrize(
    ("unmapped", "value", "severity"),
    [("hold", "", Severity.HOLD), ("warn", "", Severity.WARN), ("reject", "", Severity.REJECT), ("pass", "R9", None),
     ("next", "", None), ("OTHER", "OTHER", None)],
)  # fmt: skip
def test_what_a_table_does_not_know(
    request_of: Request, unmapped: str, value: str, severity: Severity | None
) -> None:
    field = f"ScheduledStationAETitle: {{from: ORC-2, table: room, unmapped: {unmapped}}}"
    request = request_of(field, "ORC|NW|R9")
    assert request.text("ScheduledStationAETitle") == value
    assert request.severity is severity
    for fault in request.faults:
        assert (fault.code, str(fault.place)) == ("103", "line 2 ORC-2")
        assert fault.text == "ScheduledStationAETitle: ORC-2 is not in table room"
        assert "R9" not in fault.text


@pytest.mark.parametrize(
    ("given", "unknown"),
    [
        ("from: ORC-2, table: room, unmapped: hold", ["R9"]),
        ("from: ORC-2, table: room, unmapped: next", ["R9"]),
        ("from: ORC-2, do: [{table: room}]", ["R9"]),
        ("from: [{from: ORC-2, table: room, unmapped: next}, {from: ORC-3, table: room}]", []),
        ("from: ORC-3, table: room", []),
        ("from: ORC-2, table: room, unmapped: pass", []),
        ("from: ORC-2, table: room, unmapped: OTHER", []),
    ],
)
def test_a_code_that_no_table_knows_and_no_rule_covers_is_noted(
    request_of: Request, given: str, unknown: list[str]
) -> None:
    request = request_of(f"ScheduledStationAETitle: {{{given}}}", "ORC|NW|R9|R1")
    assert [(one.table, one.code) for one in request.unknown] == [("room", code) for code in unknown]


def test_an_action_that_is_not_in_the_table_is_noted(request_of: Request) -> None:
    request = request_of("ScheduledStationAETitle: ORC-2", "ORC|ZZ|R9")
    assert [(one.table, one.code) for one in request.unknown] == [("action", "ZZ")]


@pytest.mark.parametrize("status", ["IP", "ip", "Ip"])
def test_a_pair_is_looked_up_without_regard_to_case(request_of: Request, status: str) -> None:
    assert request_of("PatientID: PID-3", f"ORC|NW||||{status}").action is Action.START


def test_of_pairs_that_differ_in_case_the_one_as_written_counts(modules_of: ModulesOf) -> None:
    frame = FRAME.format(fields="  PatientID: PID-3").replace("NW_IP: start", "NW_Ip: cancel, NW_IP: start")
    modules = modules_of({"m.yaml": frame})
    assert modules.faults == ()
    found = [
        modules.map_hl7(read_er7(f"{HEAD}\rORC|NW||||{status}")).requests[0].action
        for status in ("Ip", "IP", "ip")
    ]
    assert found == [Action.CANCEL, Action.START, Action.START]


@pytest.mark.parametrize("status", ["CM", "cm"])
def test_a_pair_that_makes_no_sense_is_held_and_noted(request_of: Request, status: str) -> None:
    request = request_of("PatientID: PID-3", f"ORC|NW||||{status}")
    assert (request.action, request.severity) == (Action.HOLD, Severity.HOLD)
    assert [fault.text for fault in request.faults] == [
        "action (ORC-1 with ORC-5) is not in the module's table"
    ]
    assert [(one.table, one.code) for one in request.unknown] == [("action", f"NW_{status}")]


def test_an_empty_target_of_a_table_leaves_the_value_out(request_of: Request) -> None:
    request = request_of("ScheduledStationAETitle: {from: ORC-2, table: room}", "ORC|NW|R2")
    assert request.attributes == {}
    assert request.faults == ()


def test_what_is_missing_is_told_where_one_would_look(request_of: Request) -> None:
    request = request_of("AccessionNumber: {from: [IPC-1, OBR-18], required: hold}", "ORC|NW", "OBR|1")
    (fault,) = request.faults
    assert (fault.severity, fault.code, fault.keyword) == (Severity.HOLD, "101", "AccessionNumber")
    assert fault.place is not None
    assert (fault.place.line, fault.place.segment, fault.place.field) == (3, "OBR", 18)
    assert fault.text == "AccessionNumber is required; nothing found at IPC-1, OBR-18"


def test_a_value_that_dicom_does_not_allow_is_left_out_and_holds(request_of: Request) -> None:
    request = request_of("AccessionNumber: ORC-2\nPatientID: PID-3", "PID|1||7", "ORC|NW|" + "A" * 17)
    assert request.attributes == {"PatientID": "7"}
    assert request.faults[0].text == "AccessionNumber: ORC-2 is longer than the 16 characters that SH allows"
    assert request.severity is Severity.HOLD
    softer = request_of("AccessionNumber: {from: ORC-2, invalid: warn}", "ORC|NW|" + "A" * 17)
    assert softer.severity is Severity.WARN


def test_a_value_longer_than_the_module_allows_is_left_out_and_holds(request_of: Request) -> None:
    field = "AccessionNumber: {from: ORC-2, max: 8}"
    assert request_of(field, "ORC|NW|" + "A" * 8).attributes == {"AccessionNumber": "A" * 8}
    request = request_of(field, "ORC|NW|" + "A" * 9)
    assert request.attributes == {}
    assert [fault.text for fault in request.faults] == ["AccessionNumber: ORC-2 is longer than 8 characters"]
    assert request.severity is Severity.HOLD


def test_a_fault_names_the_repetition_that_was_taken(request_of: Request) -> None:
    field = 'PatientBirthDate: {from: "PID-3[5=X].1", do: [date]}'
    (fault,) = request_of(field, "PID|1||7^^^^MR~nonsense^^^^X", "ORC|NW").faults
    assert fault.place is not None
    assert (fault.place.line, fault.place.field, fault.place.repetition, fault.place.component) == (
        2,
        3,
        2,
        1,
    )
    assert fault.code == "102"
    assert "nonsense" not in fault.text


def test_the_faults_of_an_ending_are_remarks(request_of: Request) -> None:
    field = "AccessionNumber: {from: OBR-18, required: hold}\nPatientSex: {from: ORC-2, required: reject}"
    request = request_of(field, "ORC|CA|x")
    assert request.action is Action.CANCEL
    assert request.severity is Severity.WARN


def test_two_quotation_marks_delete_and_nothing_keeps(request_of: Request) -> None:
    fields = "PatientSex: {from: PID-8, default: M}\nPatientBirthDate: {from: PID-7, do: [date]}"
    request = request_of(fields, 'PID|1||7||||""|""', "ORC|XO")
    assert request.attributes == {"PatientSex": "", "PatientBirthDate": ""}
    assert {p.steps for p in request.provenance if p.keyword != "action"} == {("delete",)}
    kept = request_of("PatientSex: PID-8", "PID|1||7", "ORC|XO")
    assert kept.attributes == {}


def test_a_required_value_cannot_be_deleted(request_of: Request) -> None:
    request = request_of("PatientID: {from: PID-3, required: hold}", 'PID|1||""', "ORC|XO")
    assert request.attributes == {}
    assert request.faults[0].text == "PatientID is required and PID-3 asks to delete it"


def test_default_else_when_and_fixed_values(request_of: Request) -> None:
    request = request_of(
        "AccessionNumber: ORC-2\n"
        "Modality: {from: OBR-24, default: US}\n"
        "StudyInstanceUID: {from: ZDS-1, else: {uid_from: AccessionNumber}}\n"
        "PatientSex: {default: M, when: {ORC-1: CA}}\n"
        "PatientComments: {from: {value: yes, when: {empty: ZDS}}}",
        "ORC|NW|A1",
    )
    assert request.text("Modality") == "US"
    assert request.text("StudyInstanceUID").startswith("2.25.")
    assert "PatientSex" not in request.attributes
    assert request.text("PatientComments") == "yes"
    steps = {p.keyword: (p.steps, p.place) for p in request.provenance}
    assert steps["Modality"] == (("default",), None)
    assert steps["StudyInstanceUID"] == (("uid_from AccessionNumber",), None)


def test_several_values_go_where_the_attribute_takes_them(request_of: Request) -> None:
    request = request_of(
        'ScheduledStationAETitle: "ORC-2[*]"\nPatientComments: "NTE[*]-3"\nAccessionNumber: "ORC-2[*]"',
        "ORC|NW|US1~US2",
        "NTE|1||one",
        "NTE|2||two",
    )
    assert request.attributes == {
        "ScheduledStationAETitle": "US1\\US2",
        "PatientComments": "one\ntwo",
        "AccessionNumber": "US1",
    }


def test_blanks_are_no_value_and_do_not_surround_one(request_of: Request) -> None:
    request = request_of("AccessionNumber: [ORC-2, ORC-3]", "ORC|NW|  | A1 ")
    assert request.text("AccessionNumber") == "A1"


def test_an_order_without_an_action_is_held(request_of: Request) -> None:
    request = request_of("AccessionNumber: OBR-18", "OBR|1" + "|" * 17 + "A1")
    assert request.action is Action.HOLD
    assert request.faults[0].code == "101"
    assert request.text("AccessionNumber") == "A1"


FHIR = """\
mapping: f
source: fhir
match: {resource: ServiceRequest, intent: order}
resources:
  patient: {reference: subject, required: hold}
  requester: {reference: requester}
  organization: {reference: "%requester.organization"}
action: {from: status, table: {active: schedule}}
fields:
  PatientID: "%patient.identifier.value"
  InstitutionName: "%organization.name"
  PatientName: {from: "%patient.name", invalid: warn}
"""


def order(**parts: Any) -> dict[str, Any]:
    return {"resourceType": "ServiceRequest", "id": "9", "status": "active", "intent": "order", **parts}


def test_references_are_followed_from_their_holders(modules_of: ModulesOf) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "https://e/fhir/ServiceRequest/9",
             "resource": order(subject={"reference": "Patient/7"}, requester={"reference": "#r"},
                               contained=[{"resourceType": "PractitionerRole", "id": "r",
                                           "organization": {"reference": "Organization/3"}}])},
            {"fullUrl": "https://e/fhir/Patient/7",
             "resource": {"resourceType": "Patient", "id": "7", "identifier": [{"value": "MRN"}],
                          "name": [{"family": "Doe"}]}},
            {"resource": {"resourceType": "Organization", "id": "3", "name": "Hospital"}},
            {"resource": None}, None,
        ],
    }  # fmt: skip
    (request,) = modules_of({"f.yaml": FHIR}).map_fhir(read_graph(bundle)).requests
    assert request.attributes == {"PatientID": "MRN", "InstitutionName": "Hospital"}
    assert (request.service_request, request.subject) == ("ServiceRequest/9", "Patient/7")
    assert request.faults[0].text.startswith("PatientName: %patient.name is an element with parts")


@pytest.mark.parametrize(
    ("reference", "subject"),
    [("Patient/7", "Patient/7"), ("https://e/fhir/Patient/7/_history/2", "Patient/7"), ("#p", ""), ("Group/1", ""),
     ("urn:uuid:0b5a2f3e-0000-4000-8000-000000000001", ""), ("Patient/7/../../x", ""), (7, ""), (None, "")],
)  # fmt: skip
def test_the_subject_is_the_patient_s_address_at_the_sender(
    modules_of: ModulesOf, reference: object, subject: str
) -> None:
    graph = read_graph(order(subject={"reference": reference}))
    (request,) = modules_of({"f.yaml": FHIR}).map_fhir(graph).requests
    assert request.subject == subject


def test_a_patient_that_cannot_be_reached_holds(modules_of: ModulesOf) -> None:
    modules = modules_of({"f.yaml": FHIR})
    (request,) = modules.map_fhir(read_graph(order(subject={"reference": "Patient/7"}))).requests
    assert (request.faults[0].code, request.faults[0].severity) == ("204", Severity.HOLD)
    (request,) = modules.map_fhir(read_graph(order())).requests
    assert (request.faults[0].code, str(request.faults[0].place)) == ("101", "subject")


def test_an_order_that_no_module_wants_is_passed_over(modules_of: ModulesOf) -> None:
    modules = modules_of({"f.yaml": FHIR})
    both = modules.map_fhir(read_graph([order(), order(intent="plan")]))
    assert both.module is not None
    assert (len(both.requests), len(both.skipped)) == (1, 1)
    assert modules.map_fhir(read_graph([order(intent="plan")])).module is None
