"""Loading a folder of modules: every fault with its place, inheritance, ties, and who gets which message."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.mapping.bundle import read_graph
from gateway.mapping.registry import NO_ORDER, Modules, prove
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Invalid
from gateway.model.order import Action

ModulesOf = Callable[..., Modules]

BASE = """\
mapping: base
source: hl7v2
match: {MSH-9.1: ORM}
site: {authority: "", word: plain}
action: {from: ORC-1, table: {NW: schedule, CA: cancel}}
tables:
  sex: {M: M, F: F}
fields:
  PatientID: {from: ["PID-3[4.1=$authority].1", PID-3.1], required: hold}
  PatientSex: {from: PID-8, table: sex}
  Modality: OBR-24
"""


def message(facility: str = "HOSP", kind: str = "ORM", body: str = "ORC|NW\rOBR|1") -> Message:
    return read_er7(
        f"MSH|^~\\&|RIS|{facility}|GW|RAD|2026||{kind}^O01|1|P|2.3\rPID|1||7^^^A~8^^^B|||||F\r{body}"
    )


def test_all_faults_of_all_files_come_together_with_their_place(modules_of: ModulesOf) -> None:
    modules = modules_of(
        {
            "a.yaml": BASE.replace("required: hold", "requird: hold").replace("PatientSex", "PatientSexx"),
            "b.yaml": "mapping: b\nsource: hl7v2\naction: {from: ORC-1, table: {NW: shedule}}\nfields:\n"
            "  PatientID: {from: 'PID-3[', do: [uper, {truncate: x}]}\n  PatientSex: {from: PID-8, table: sexx}\n",
            "c.yaml": "a: 1\na: 2\n",
        }
    )
    assert modules.names == ()
    assert modules.faults == (
        "c.yaml:2:1: the key 'a' stands already in line 1",
        "a.yaml:9:59: 'requird' is no key of a field; did you mean 'required'?",
        "a.yaml:10:3: 'PatientSexx' is no DICOM keyword that a mapping can fill; did you mean 'PatientSex'?",
        f"b.yaml:3:35: the action for NW is one of {', '.join(Action)}, unmapped; did you mean 'schedule'?",
        "b.yaml:5:21: 'PID-3[' is no HL7 path such as PID-3[5=MR].1",
        "b.yaml:5:36: 'uper' is no transform; did you mean 'upper'?",
        "b.yaml:5:53: the argument 'n' of truncate is a whole number",
        "b.yaml:6:36: 'sexx' is no table of this module",
    )


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("source: hl7v2", "source: hl8", "2:9: source is one of hl7v2, fhir"),
        ("mapping: base", "mapping:", "the key 'mapping'"),
        ("{from: ORC-1, table", "{table", "action needs 'from'"),
        ("site: {", "site: {timezone: Mars/Base, ", "'Mars/Base' is no time zone"),
        ("$authority", "$autority", "'$autority' is no site value"),
        ("Modality: OBR-24", "Modality: {default: us}", "the default holds what CS does not allow"),
        ("Modality: OBR-24", "Modality: {}", "a field needs"),
        ("Modality: OBR-24", "Modality: {from: OBR-24, unmapped: warn}", "there is no table"),
        ("Modality: OBR-24", "Modality: {from: OBR-24, max: few}", "max is a whole number"),
        ("Modality: OBR-24", "Modality: {from: {from: OBR-24, value: x}}", "either from (one path) or value"),
        (
            "Modality: OBR-24",
            "Modality: {from: OBR-24, do: [{replace: {form: x}}]}",
            "has no argument 'form'",
        ),
        ("Modality: OBR-24", "Modality: {from: OBR-24, do: [truncate]}", "needs the argument 'n'"),
        ("Modality: OBR-24", "Modality: {from: OBR-24, do: [{date: {partial: maybe}}]}", "is hold or drop"),
        ("Modality: OBR-24", "Modality: {from: OBR-24, when: []}", "a condition is a mapping"),
        (
            "Modality: OBR-24",
            "Modality: {from: OBR-24, required: yes}",
            "required is one of warn, hold, reject",
        ),
        ("tables:", "tables:\n  x: nowhere.csv", "'nowhere.csv' cannot be read"),
        ("tables:", "tables:\n  x: ../secret.csv", "outside the folder"),
        ("tables:", "each: message\ntables:", "each is order"),
        ("tables:", "skip: [{when: {OBR-24: LAB}}]\ntables:", "has 'when' and 'because'"),
        ("tables:", "resources: {patient: {reference: subject}}\ntables:", "resources are for source: fhir"),
        ("tables:", "extends: nobody\ntables:", "the parent 'nobody' is no module"),
        ("tables:", "extends: base\ntables:", "'base' extends itself"),
        ("tables:", "examples: [{name: x}]\ntables:", "an example has 'name'"),
    ],
)
def test_a_fault_keeps_the_module_out(modules_of: ModulesOf, before: str, after: str, fault: str) -> None:
    modules = modules_of({"base.yaml": BASE.replace(before, after)})
    assert any(fault in line and line.startswith("base.yaml:") for line in modules.faults), modules.faults
    assert modules.names == ()
    assert modules.map_hl7(message()).module is None


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    modules = Modules.load(tmp_path / "no-such-folder", site={})
    assert modules.faults == ("no-such-folder:1:1: the folder of the mapping modules is not there",)


CHILD = """\
mapping: child
extends: base
match: {MSH-4.1: CLINIC}
site: {authority: B}
tables: {sex: {F: O, M: null}}
fields:
  PatientID: {required: warn}
  Modality: null
  AccessionNumber: {default: A1}
"""


def test_a_child_changes_what_it_says_and_keeps_the_rest(modules_of: ModulesOf) -> None:
    modules = modules_of({"base.yaml": BASE, "child.yaml": CHILD})
    assert modules.faults == ()
    mapped = modules.map_hl7(message("CLINIC", body="ORC|NW\rOBR|1||||||||||||||||||||||||US"))
    assert mapped.module is not None
    assert mapped.module.name == "child"
    (request,) = mapped.requests
    assert request.attributes == {"PatientID": "8", "PatientSex": "O", "AccessionNumber": "A1"}
    lines = {provenance.keyword: provenance.at for provenance in request.provenance}
    assert lines["PatientSex"] == "base.yaml:10"
    assert lines["AccessionNumber"] == "child.yaml:9"
    assert modules.map_hl7(message()).requests[0].text("PatientID") == "7"


def test_the_version_stands_for_the_parent_and_the_tables_too(modules_of: ModulesOf) -> None:
    child = CHILD.replace("tables: {sex: {F: O, M: null}}", "tables: {room: rooms.csv}")
    files = {"base.yaml": BASE, "child.yaml": child, "rooms.csv": "from,to\nA,B\n"}
    before = modules_of(files)
    assert modules_of(files).module("child").ref == before.module("child").ref
    with_table = modules_of({**files, "rooms.csv": "from,to\nA,C\n"})
    assert with_table.module("child").ref.version != before.module("child").ref.version
    assert with_table.module("base").ref == before.module("base").ref
    with_parent = modules_of({**files, "base.yaml": BASE + "# a remark\n"})
    assert with_parent.module("child").ref.version != before.module("child").ref.version


def test_a_broken_parent_keeps_the_child_out(modules_of: ModulesOf) -> None:
    modules = modules_of({"base.yaml": BASE.replace("PID-8", "PID8"), "child.yaml": CHILD})
    assert modules.names == ()
    assert modules.faults == ("base.yaml:10:22: 'PID8' is no HL7 path such as PID-3[5=MR].1",)


def test_two_modules_that_match_equally_are_both_left_out(modules_of: ModulesOf) -> None:
    other = CHILD.replace("mapping: child", "mapping: other")
    modules = modules_of({"base.yaml": BASE, "child.yaml": CHILD, "other.yaml": other})
    assert modules.names == ("base",)
    assert [fault.partition(": ")[0] for fault in modules.faults] == ["child.yaml:1:1", "other.yaml:1:1"]
    apart = modules_of({"other.yaml": other.replace("CLINIC", "ELSEWHERE")})
    assert apart.names == ("base", "child", "other")


def test_a_name_that_stands_twice_is_a_fault(modules_of: ModulesOf) -> None:
    modules = modules_of({"a.yaml": BASE, "b.yaml": BASE})
    assert modules.faults == ("b.yaml:1:1: the module 'base' stands already in a.yaml",)
    assert modules.names == ("base",)


def test_a_module_whose_example_fails_is_not_used(modules_of: ModulesOf) -> None:
    example = """\
examples:
  - name: one order
    message: |
      MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3
      PID|1||7
      ORC|NW
    expect:
      - {action: cancel, PatientID: 8, Modality: null}
"""
    modules = modules_of({"base.yaml": BASE + example})
    assert modules.names == ()
    assert modules.faults == (
        "base.yaml:19:9: example 'one order': order 1: action is schedule, expected cancel",
        "base.yaml:19:26: example 'one order': order 1: PatientID is '7', expected '8'"
        " (from line 2 PID-3.1 base.yaml:9)",
    )


PROVED = """\
examples:
  - name: good
    message: "MSH|^~\\\\&|R|H|G|R|2026||ORM|1|P|2.3\\nORC|CA"
    expect: [{action: cancel}]
"""


def test_prove_tells_every_example_and_every_fault(modules_of: ModulesOf, tmp_path: Path) -> None:
    modules_of({"base.yaml": BASE.replace(", required: hold", "") + PROVED})
    proof = prove(tmp_path, site={})
    assert (proof.lines, proof.is_good) == (("base: good: ok",), True)
    modules_of({"base.yaml": BASE + PROVED.replace("cancel}", "update}")})
    proof = prove(tmp_path, site={})
    assert proof.lines[0] == "base: good: differs"
    assert "action is cancel, expected update" in proof.lines[1]
    assert not proof.is_good


def test_a_message_that_no_module_wants_has_no_module(modules_of: ModulesOf) -> None:
    modules = modules_of({"base.yaml": BASE})
    assert modules.map_hl7(message(kind="ADT")).module is None
    empty = modules.map_hl7(message(body="NTE|1"))
    assert (empty.requests, empty.skipped) == ((), (NO_ORDER,))
    assert modules.map_fhir(read_graph({"resourceType": "ServiceRequest"})).module is None


def test_the_settings_fill_what_the_module_leaves_empty(modules_of: ModulesOf) -> None:
    start = "  ScheduledProcedureStepStartDateTime: {from: ORC-7.4, do: [datetime]}\n"
    body = "ORC|NW||||||^^^202607011000"
    modules = modules_of({"base.yaml": BASE + start}, timezone="Asia/Tokyo")
    assert (
        modules.map_hl7(message(body=body))
        .requests[0]
        .text("ScheduledProcedureStepStartDateTime")
        .endswith("+09:00")
    )
    own = modules_of({"base.yaml": BASE.replace("word: plain", "timezone: America/Chicago") + start})
    assert (
        own.map_hl7(message(body=body))
        .requests[0]
        .text("ScheduledProcedureStepStartDateTime")
        .endswith("-05:00")
    )


def test_a_module_is_found_by_its_name(modules_of: ModulesOf) -> None:
    modules = modules_of({"base.yaml": BASE})
    assert modules.module("base").name == "base"
    with pytest.raises(Invalid, match="did you mean 'base'"):
        modules.module("bas")


def test_an_action_that_is_not_in_the_table_holds(modules_of: ModulesOf) -> None:
    (request,) = modules_of({"base.yaml": BASE}).map_hl7(message(body="ORC|ZZ")).requests
    assert request.action is Action.HOLD
    (fault,) = request.faults
    assert (fault.keyword, fault.code, fault.at) == ("", "103", "base.yaml:5")
