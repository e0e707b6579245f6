"""FHIRPath held against the elements of the resources, and those against the resources' own definitions."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources import get_fhir_model_class as r5
from fhir.resources.R4B import get_fhir_model_class as r4b
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping import lint_elements
from gateway.mapping.lint_elements import parts_of, targets
from gateway.mapping.lint_fhir import FUNCTIONS, note_strangers
from gateway.mapping.lint_walk import Written
from gateway.mapping.loader import Mark, Problems, read_yaml
from gateway.mapping.registry import Modules

ModulesOf = Callable[..., Modules]
WALKED = (
    "ServiceRequest", "Task", "Appointment", "Patient", "Practitioner", "PractitionerRole", "Encounter", "Organization",
    "Location",
)  # fmt: skip
TYPES = (
    "Identifier", "HumanName", "CodeableConcept", "Coding", "Reference", "Period", "Timing", "Quantity", "Extension",
    "Annotation", "ContactPoint", "Address",
)  # fmt: skip

FHIR = """\
mapping: f
source: fhir
fhir_version: R4B
match: {resource: ServiceRequest}
resources:
  patient: {reference: subject}
  requester: {reference: requester}
action: {from: status, table: {active: schedule}}
fields:
"""


def faults_of(modules_of: ModulesOf, head: str, field: str) -> tuple[str, ...]:
    """The faults of a module with one more line of fields."""
    modules = modules_of({"m.yaml": f"{head}  {field}\n"})
    assert bool(modules.names) is not bool(modules.faults)
    return modules.faults


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        (
            "PatientID: '%patient.identifer.value'",
            "10:14: '%patient.identifer.value': Patient has no element 'identifer'; did you mean 'identifier'?",
        ),
        (
            "PatientID: {from: ['%patient.id', identifier.where(sytem='x').value]}",
            "10:37: 'identifier.where(sytem='x').value': Identifier has no element 'sytem'; did you mean 'system'?",
        ),
        (
            "PatientID: [{from: code.txt, when: {code.coding.cod: A}}]",
            "10:22: 'code.txt': CodeableConcept has no element 'txt'; did you mean 'text'?",
        ),
        (
            "PatientID: {from: id, when: {empty: [subjec]}}",
            "10:40: 'subjec': ServiceRequest has no element 'subjec'; did you mean 'subject'?",
        ),
        (
            "PatientID: identifier.were(system='x').value",
            "10:14: 'identifier.were(system='x').value': 'were()' is no function; did you mean 'where'?",
        ),
        (
            "PatientID: occurrence.ofType(Perod).start",
            "10:14: 'occurrence.ofType(Perod).start': 'Perod' is no type of FHIR; did you mean 'Period'?",
        ),
        (
            "PatientID: {from: id, do: [{template: '{id}-{cod.text}'}]}",
            "10:31: 'cod.text': ServiceRequest has no element 'cod'; did you mean 'code'?",
        ),
        (
            "PatientID: code.concept.text",
            "10:14: 'code.concept.text': CodeableConcept has no element 'concept'",
        ),
        (
            "OtherPatientIDsSequence: {each: '%patient.identifier', item: {PatientID: '%item.valu'}}",
            "10:76: '%item.valu': Identifier has no element 'valu'; did you mean 'value'?",
        ),
    ],
)
def test_a_name_that_no_resource_has(modules_of: ModulesOf, field: str, fault: str) -> None:
    faults = faults_of(modules_of, FHIR, field)
    assert f"m.yaml:{fault}" in faults
    assert len(faults) == (2 if "cod: A" in field else 1)


def test_what_the_resource_has_is_no_fault(modules_of: ModulesOf) -> None:
    fields = """\
PatientID: ["%patient.identifier.where(type.coding.where(code='MR').exists() and use != 'old').value", "%context.id"]
  PatientName: {from: ["%patient.name.where($this.use='official')", "%requester.name"], do: [name_fhir]}
  AccessionNumber: ["identifier[0].value", "(identifier | requisition).value", "iif(status='x', code.text, id)"]
  StudyID: ["extension('http://x').value.first()", "extension('http://x').valueString", "contained.where(id='a').name"]
  Modality: ["(occurrence as Period).start.extension('x').url", "ServiceRequest.status", "code.coding.select(code)"]
  ScheduledProcedureStepStartDateTime: {from: [occurrenceDateTime, occurrence.ofType(dateTime)], do: [datetime]}
  PatientComments: ["occurrenceTiming.repeat.bounds.start", "performer.where(type='Location').display.lower()"]"""
    assert faults_of(modules_of, FHIR, fields) == ()


def test_the_release_decides_which_elements_there_are(modules_of: ModulesOf) -> None:
    field = "PatientID: [code.concept.text, reason.reference.display]"
    assert len(faults_of(modules_of, FHIR, field)) == 2
    assert faults_of(modules_of, FHIR.replace("R4B", "R5"), field) == ()
    assert (
        faults_of(modules_of, FHIR.replace("fhir_version: R4B\n", ""), f"{field}\n  StudyID: code.text") == ()
    )


def test_a_release_that_is_not_known_is_a_fault(modules_of: ModulesOf) -> None:
    assert faults_of(modules_of, FHIR.replace("R4B", "R6"), "PatientID: id") == (
        "m.yaml:3:15: fhir_version is one of R4, R4B, R5",
    )


def test_another_resource_has_other_elements(modules_of: ModulesOf) -> None:
    task = FHIR.replace("ServiceRequest}", "Task}\neach: Task").replace("subject", "for")
    assert faults_of(modules_of, task, "PatientID: ['%patient.id', restriction.period.start]") == ()
    assert faults_of(modules_of, task, "PatientID: '%patient.idd'") == (
        "m.yaml:11:14: '%patient.idd': Patient has no element 'idd'; did you mean 'id'?",
    )


ELEMENTS = sorted({name for kind in WALKED for name in parts_of(kind, "r4")})


@given(
    st.lists(
        st.sampled_from([*ELEMENTS, *sorted(FUNCTIONS), "%patient", "(", ")", ".", "'", "=", "1"]), max_size=7
    )
)
def test_any_text_is_walked_or_passed_over(words: list[str]) -> None:
    tree = read_yaml(b"resources: {patient: {reference: subject}}", "m.yaml")
    problems = Problems()
    note_strangers(tree, [Written(text="".join(words), mark=Mark(file="m.yaml", line=1, column=1))], problems)
    assert all(line.startswith("m.yaml:1:1: ") for line in problems.lines())


@pytest.mark.parametrize(("release", "model"), [("r4", r4b), ("r5", r5)])
@pytest.mark.parametrize("kind", [*WALKED, *TYPES])
def test_the_elements_are_those_of_the_resources(
    release: str, model: Callable[[str], Any], kind: str
) -> None:
    fields = model(kind).model_fields
    names = {field.alias or name for name, field in fields.items()} - {"fhir_comments", "resourceType"}
    known = parts_of(kind, release)
    assert {name for name in names if not name.startswith("_")} <= set(known)


def test_references_lead_where_the_resources_say() -> None:
    said: dict[str, set[str]] = {}
    for model in (r4b, r5):
        for kind in WALKED:
            _note_references(model, model(kind), kind, said)
    usual = {path: kinds for path, kinds in said.items() if kinds & set(WALKED) and "Resource" not in kinds}
    written = {entry.partition(":")[0].strip() for entry in lint_elements.REFERENCES.split(";")} - {""}
    assert {path: set(targets(path)) for path in written} == usual
    assert targets("Task.focus") == frozenset()


def _note_references(model: Callable[[str], Any], kind: Any, path: str, said: dict[str, set[str]]) -> None:
    stem = kind.__name__
    for name, field in kind.model_fields.items():
        below = re.findall(r"abc\.(\w+)Type", str(field.annotation))
        kinds = (field.json_schema_extra or {}).get("enum_reference_types")
        if kinds and below:
            said.setdefault(f"{path}.{field.alias or name}", set()).update(kinds)
        elif below and below[0].startswith(stem) and below[0] != stem:
            _note_references(model, model(below[0]), f"{path}.{name}", said)
