"""Items of sequences built from repetitions, segments and FHIR elements."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.bundle import read_graph
from gateway.mapping.groups import order_groups
from gateway.mapping.paths import BadPath, compile_hl7, compile_relative
from gateway.mapping.registry import Modules
from gateway.mapping.scope import standing_at, text_of
from gateway.model.er7 import read_er7
from gateway.model.order import OrderRequest, Severity

ModulesOf = Callable[..., Modules]

FRAME = "mapping: m\nsource: hl7v2\nmatch: {MSH-9.1: ORM}\naction: {from: ORC-1, table: {NW: schedule}}\nfields:\n"
IDS = """\
  OtherPatientIDsSequence:
    each: "PID-3[*]"
    only: {not: {.5: MR}}
    item:
      PatientID: {from: .1, required: hold}
      IssuerOfPatientID: .4.1
      TypeOfPatientID: {default: TEXT}
"""


def mapped(modules: Modules, *segments: str) -> OrderRequest:
    assert modules.faults == ()
    head = "MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3"
    return modules.map_hl7(read_er7("\r".join([head, *segments, "ORC|NW"]))).requests[0]


def test_every_repetition_becomes_an_item_with_its_own_trace(modules_of: ModulesOf) -> None:
    request = mapped(modules_of({"m.yaml": FRAME + IDS}), "PID|1||7^^^A^MR~8^^^B&1.2&ISO^PI~9")
    assert request.attributes["OtherPatientIDsSequence"] == (
        {"PatientID": "8", "IssuerOfPatientID": "B", "TypeOfPatientID": "TEXT"},
        {"PatientID": "9", "TypeOfPatientID": "TEXT"},
    )
    trace = {p.keyword: p for p in request.provenance}
    issuer = trace["OtherPatientIDsSequence[1].IssuerOfPatientID"]
    assert (issuer.raw, str(issuer.place), issuer.at) == ("B", "line 2 PID-3[*].4.1", "m.yaml:11")
    assert issuer.place is not None
    assert (issuer.place.repetition, issuer.place.component, issuer.place.subcomponent) == (2, 4, 1)
    assert json.loads(trace["OtherPatientIDsSequence"].value)[1]["PatientID"] == "9"
    assert trace["OtherPatientIDsSequence"].steps == ("item",)


def test_a_repetition_without_anything_is_no_item(modules_of: ModulesOf) -> None:
    request = mapped(modules_of({"m.yaml": FRAME + IDS}), "PID|1||^^^^PI")
    assert "OtherPatientIDsSequence" not in request.attributes
    assert request.faults == ()


def test_a_fault_within_an_item_belongs_to_the_sequence(modules_of: ModulesOf) -> None:
    request = mapped(modules_of({"m.yaml": FRAME + IDS}), f"PID|1||{'9' * 65}^^^B")
    assert request.attributes["OtherPatientIDsSequence"] == (
        {"IssuerOfPatientID": "B", "TypeOfPatientID": "TEXT"},
    )
    (fault,) = request.faults
    assert (fault.keyword, fault.severity) == ("OtherPatientIDsSequence", Severity.HOLD)
    assert fault.text.startswith("OtherPatientIDsSequence[1].PatientID: .1 is longer than the 64 characters")


def test_two_quotation_marks_delete_the_sequence(modules_of: ModulesOf) -> None:
    request = mapped(modules_of({"m.yaml": FRAME + IDS}), 'PID|1||""')
    assert request.attributes["OtherPatientIDsSequence"] == ""
    required = IDS.replace("    each:", "    required: hold\n    each:")
    absent = mapped(modules_of({"m.yaml": FRAME + required}), "PID|1")
    assert absent.faults[0].text == "OtherPatientIDsSequence is required; nothing found at PID-3[*]"


def test_items_come_from_segments_too_and_nest(modules_of: ModulesOf) -> None:
    fields = """\
  ReferencedStudySequence:
    item: {ReferencedSOPInstanceUID: ZDS-1.1, ReferencedSOPClassUID: {default: 1.2.840.10008.3.1.2.3.1}}
  ContentSequence:
    each: "OBX[*]"
    item:
      TextValue: .5
      ConceptNameCodeSequence: {from: .3, do: [code]}
      MeasuredValueSequence: {item: {NumericValue: {from: .5, do: [number], invalid: warn}}}
"""
    request = mapped(modules_of({"m.yaml": FRAME + fields}), "ZDS|1.2.3", "OBX|1|NM|W^Weight^L||72", "OBX|2")
    assert request.attributes["ReferencedStudySequence"] == (
        {"ReferencedSOPInstanceUID": "1.2.3", "ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1"},
    )
    code = {"CodeValue": "W", "CodingSchemeDesignator": "99LOC", "CodeMeaning": "Weight"}
    assert request.attributes["ContentSequence"] == (
        {
            "TextValue": "72",
            "ConceptNameCodeSequence": (code,),
            "MeasuredValueSequence": ({"NumericValue": "72"},),
        },
    )


def test_a_fhir_element_is_percent_item(modules_of: ModulesOf) -> None:
    module = """\
mapping: f
source: fhir
match: {resource: ServiceRequest}
action: {from: status, table: {active: schedule}}
fields:
  OtherPatientIDsSequence:
    each: identifier
    only: {not: {"%item.use": old}}
    item: {PatientID: "%item.value", IssuerOfPatientID: "%item.assigner.display"}
"""
    order = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "identifier": [{"value": "7", "assigner": {"display": "A"}}, {"value": "8", "use": "old"}],
    }
    modules = modules_of({"f.yaml": module})
    assert modules.faults == ()
    (request,) = modules.map_fhir(read_graph(order)).requests
    assert request.attributes == {"OtherPatientIDsSequence": ({"PatientID": "7", "IssuerOfPatientID": "A"},)}


def test_a_child_changes_one_part_of_an_item(modules_of: ModulesOf) -> None:
    child = (
        "mapping: c\nextends: m\nmatch: {MSH-4.1: HOSP, MSH-9.1: ORM}\nfields:\n"
        "  OtherPatientIDsSequence: {only: null, item: {IssuerOfPatientID: {default: X}, TypeOfPatientID: null}}\n"
    )
    request = mapped(modules_of({"m.yaml": FRAME + IDS, "c.yaml": child}), "PID|1||7^^^^MR")
    assert request.attributes["OtherPatientIDsSequence"] == ({"PatientID": "7", "IssuerOfPatientID": "X"},)


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ("PatientID: .1", "'.1' begins at an item"),
        ("OtherPatientIDsSequence: {item: {PatientID: .1}}", "'.1' begins at an item"),
        ("OtherPatientIDsSequence: {each: PID-3, item: {PatientID: .x}}", "is no path inside an item"),
        ("OtherPatientIDsSequence: {each: PID-3, from: PID-3}", "each and only go with 'item'"),
        (
            "OtherPatientIDsSequence: {item: {PatientID: PID-3}, from: PID-3}",
            "'from' does not go with 'item'",
        ),
        ("OtherPatientIDsSequence: {item: {PatientID: PID-3}, only: {PID-3: x}}", "only goes with 'each'"),
        ("PatientID: {item: {PatientID: PID-3}}", "PatientID is no sequence"),
        ("OtherPatientIDsSequence: {item: {PatientIDs: PID-3}}", "'PatientIDs' is no DICOM keyword"),
    ],
)
def test_what_is_no_item_is_a_fault_at_load(modules_of: ModulesOf, field: str, fault: str) -> None:
    modules = modules_of({"m.yaml": f"{FRAME}  {field}\n"})
    assert any(fault in line and line.startswith("m.yaml:6:") for line in modules.faults), modules.faults


@given(st.text(alphabet=".0123459", max_size=8), st.text(alphabet='A7^&~\\".', max_size=20))
def test_any_relative_path_on_any_repetition_gives_a_value_or_nothing(text: str, field: str) -> None:
    try:
        path = compile_relative(f".{text}")
    except BadPath:
        return
    (group,) = order_groups(read_er7(f"MSH|^~\\&|A|B|C|D|2026||ORM|1|P|2.3\rPID|1||{field}\rORC|NW"))
    assert path.read(group) == ()
    for each in ("PID-3[*]", "PID"):
        for found in compile_hl7(each, {}).read(group):
            inside = standing_at(group, found)
            assert all(isinstance(text_of(hit.datum), str) and hit.raw for hit in path.read(inside))
            assert path.place(inside).line == 2
