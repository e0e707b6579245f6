"""Modules that can be read but cannot mean what they say: each fault and warning with its line and column."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.mapping.lint_values import FITS, GIVES, KEEPS, PLAIN
from gateway.mapping.registry import Modules, prove
from gateway.mapping.transforms.catalogue import TRANSFORMS

ModulesOf = Callable[..., Modules]
ROOT = Path(__file__).parents[2]

HL7 = """\
mapping: m
source: hl7v2
match: {MSH-9.1: ORM}
action: {from: ORC-1, table: {NW: schedule}}
tables:
  sex: {M: M, F: F}
  words: {a: much too long for a code string, b: ok}
  rooms: rooms.csv
fields:
  PatientID: PID-3.1
  PatientSex: {from: PID-8, table: sex}
  RequestedProcedureDescription: [{from: OBR-4.1, table: words}, {from: OBR-4.2, table: rooms}]
"""


def faults_of(modules_of: ModulesOf, head: str, field: str) -> tuple[str, ...]:
    """The faults of a module with one more line of fields, which has to be the file's last."""
    files = {"m.yaml": f"{head}  {field}\n", "rooms.csv": "from,to\nA,B\n"}
    modules = modules_of(files)
    assert bool(modules.names) is not bool(modules.faults)
    return modules.faults


@pytest.mark.parametrize(
    ("field", "faults"),
    [
        # a kind that the attribute does not hold
        (
            "StudyDescription: {from: OBR-7, do: [date]}",
            "13:40: StudyDescription (LO) cannot hold what 'date' gives: a date",
        ),
        (
            "PatientBirthDate: {from: PID-7, do: [datetime]}",
            "13:40: PatientBirthDate (DA) cannot hold what 'datetime' gives: a date with its time",
        ),
        (
            "PatientBirthDate: {from: PID-7, do: [time, first]}",
            "13:40: PatientBirthDate (DA) cannot hold what 'time' gives: a time of day",
        ),
        (
            "ScheduledProcedureStepStartDateTime: {from: TQ1-7, do: [date]}",
            "13:59: ScheduledProcedureStepStartDateTime (DT) cannot hold what 'date' gives: a date",
        ),
        ("Modality: {from: OBR-4, do: [code]}", "13:32: Modality (CS) cannot hold what 'code' gives: items"),
        (
            "Modality: {from: [{from: OBR-4, do: [{code: 64}]}]}",
            "13:41: Modality (CS) cannot hold what 'code' gives: items",
        ),
        (
            "Modality: {from: OBR-16, do: [name_xcn]}",
            "13:33: Modality (CS) cannot hold what 'name_xcn' gives: a person name",
        ),
        (
            "PatientSize: {from: OBX-5, do: [age_from]}",
            "13:35: PatientSize (DS) cannot hold what 'age_from' gives: an age",
        ),
        (
            "AccessionNumber: {from: ZDS-1, do: [uid]}",
            "13:39: AccessionNumber (SH) cannot hold what 'uid' gives: a UID",
        ),
        (
            "StudyID: {from: OBR-18, else: [{uid_from: PatientID}]}",
            "13:35: StudyID (SH) cannot hold what 'uid_from' gives: a UID",
        ),
        (
            "ProcedureCodeSequence: {from: OBR-4.1, do: [upper]}",
            "13:47: ProcedureCodeSequence (SQ) cannot hold what 'upper' gives: a text",
        ),
        (
            "ProcedureCodeSequence: OBR-4",
            "13:26: ProcedureCodeSequence is a sequence; a transform such as 'code' makes its items",
        ),
        (
            "OtherPatientIDsSequence: {item: {PatientID: {from: OBR-4, do: [code]}}}",
            "13:66: PatientID (LO) cannot hold what 'code' gives: items",
        ),
        # a constant that the attribute does not hold
        (
            "Modality: {from: [OBR-24, {value: us}]}",
            "13:37: Modality: the value holds what CS does not allow",
        ),
        (
            "Modality: {from: OBR-24, do: [{constant: us}]}",
            "13:34: Modality: the constant holds what CS does not allow",
        ),
        ("Modality: {from: OBR-24, default: us}", "13:37: the default holds what CS does not allow"),
        (
            "AccessionNumber: {from: OBR-18, else: [{constant: seventeen letters}]}",
            "13:43: AccessionNumber: the constant is longer than the 16 characters that SH allows",
        ),
        (
            "AccessionNumber: {from: OBR-18, max: 3, default: ABCD}",
            "13:52: the default is longer than 3 characters",
        ),
        (
            "Modality: {from: OBR-24, table: {R: CR, C: ct}}",
            "13:46: Modality: the table's row 'C' holds what CS does not allow",
        ),
        (
            "Modality: {from: OBR-24, table: words}",
            "13:35: Modality: the row 'a' of table words is longer than the 16 characters that CS allows; "
            "13:35: Modality: the row 'b' of table words holds what CS does not allow",
        ),
        (
            "Modality: {from: OBR-24, table: sex, unmapped: other}",
            "13:50: Modality: what unmapped gives holds what CS does not allow",
        ),
        # what is never reached
        (
            "StudyID: [{value: A}, OBR-2]",
            "13:25: never reached: the alternative in line 13 always gives a value",
        ),
        ("StudyID: [OBR-2.1, OBR-2.1]", "13:22: never reached: 'OBR-2.1' stands before it already"),
        (
            "StudyID: [{from: OBR-2.1}, {from: OBR-2.1, do: [upper]}]",
            "13:30: never reached: 'OBR-2.1' stands before it already",
        ),
        (
            "StudyID: {from: [{value: A}], default: B}",
            "13:33: 'default' never comes about: an alternative always gives a value",
        ),
        (
            "StudyID: {from: OBR-2.1, default: B, required: hold}",
            "13:40: 'required' never comes about: the field has a default",
        ),
        (
            "StudyID: {from: OBR-2.1, else: [{constant: B}], default: C}",
            "13:51: 'default' never comes about: else always gives a value",
        ),
        (
            "StudyID: {from: OBR-2.1, table: {A*: B, AB*: C}}",
            "13:43: the row 'AB*' is never used: 'A*' stands before it",
        ),
        (
            "StudyID: {from: OBR-2.1, table: {' A': B}}",
            "13:36: the row ' A' is never used: texts are looked up without blanks around them",
        ),
        (
            "StudyID: {from: OBR-2.1, table: {'*': B}, unmapped: warn}",
            "13:55: 'unmapped' never comes about: the row '*' takes everything",
        ),
        (
            "StudyID: {from: OBR-2.1, when: {PV1-2: []}}",
            "13:35: 'PV1-2' is compared with nothing and never holds; 'empty: PV1-2'?",
        ),
        # and what is all right
        ("StudyID: [OBR-2.1, {from: OBR-2.2, when: {PV1-2: I}}, {value: A}]", ""),
        ("StudyID: [{from: OBR-2.1, do: [{regex: a}]}, {from: OBR-2.1, do: [{regex: b}]}]", ""),
        ("StudyID: {from: OBR-2.1, table: {AB: B, 'A*': C}, unmapped: pass}", ""),
        ("PatientAge: {from: PID-7, do: [age_from]}", ""),
        ("ContentCreatorName: {from: OBR-16, do: [name_xcn, {truncate: 64}]}", ""),
    ],
)
def test_a_value_or_a_fallback_that_cannot_be(modules_of: ModulesOf, field: str, faults: str) -> None:
    assert "; ".join(f.removeprefix("m.yaml:") for f in faults_of(modules_of, HL7, field)) == faults


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (
            "action: {from: ORC-1,",
            "action: {from: ORC-1, pair: ORC-5,",
            "4:29: 'pair' is never used: no row of the table is written A_B",
        ),
        (
            "action: {from: ORC-1,",
            "action: {from: [ORC-1, ORC-1],",
            "4:24: never reached: 'ORC-1' stands before it already",
        ),
        (
            "match: {MSH-9.1: ORM}",
            "match: {MSH-9.1: []}",
            "3:9: 'MSH-9.1' is compared with nothing and never holds; 'empty: MSH-9.1'?",
        ),
        (
            "match:",
            "skip: [{when: {not: {OBR-4: []}}, because: x}]\nmatch:",
            "3:22: 'OBR-4' is compared with nothing and never holds; 'empty: OBR-4'?",
        ),
        (
            "sex: {M: M, F: F}",
            "sex: {'*': O, 'M?': M}",
            "6:17: the row 'M?' is never used: '*' stands before it",
        ),
    ],
)
def test_a_part_of_the_module_that_never_comes_about(
    modules_of: ModulesOf, before: str, after: str, fault: str
) -> None:
    modules = modules_of({"m.yaml": HL7.replace(before, after), "rooms.csv": "from,to\nA,B\n"})
    assert modules.faults == (f"m.yaml:{fault}",)


def test_a_table_that_is_never_used_is_a_warning(modules_of: ModulesOf) -> None:
    modules = modules_of({"m.yaml": HL7.replace("table: sex", "do: [upper]"), "rooms.csv": "from,to\nA,B\n"})
    assert modules.warnings == ("m.yaml:6:3: the table 'sex' is never used",)
    assert modules.names == ("m",)


def test_a_parent_needs_no_change_for_what_a_child_makes_needless(modules_of: ModulesOf) -> None:
    parent = HL7.replace("PID-3.1", "{from: PID-3.1, required: hold}")
    child = "mapping: c\nextends: m\nmatch: {MSH-4: X}\nfields: {PatientID: {default: NONE}}\n"
    modules = modules_of({"m.yaml": parent, "rooms.csv": "from,to\nA,B\n", "c.yaml": child})
    assert modules.faults == modules.warnings == ()


def test_a_fault_of_the_parent_is_told_once_where_it_stands(modules_of: ModulesOf) -> None:
    child = "mapping: c\nextends: m\nmatch: {MSH-4: X}\n"
    parent = HL7.replace("PatientID: PID-3.1", "PatientID: [PID-3.1, PID-3.1]")
    modules = modules_of({"m.yaml": parent, "rooms.csv": "from,to\nA,B\n", "c.yaml": child})
    assert modules.faults == ("m.yaml:10:24: never reached: 'PID-3.1' stands before it already",)
    assert modules.names == ()


def test_reading_and_lint_tell_their_faults_together(modules_of: ModulesOf) -> None:
    field = "StudyID: {from: [OBR-2, OBR-2], do: [uper]}\n  Modality: {from: OBR-24, do: [date]}"
    assert [fault.partition(" ")[0] for fault in faults_of(modules_of, HL7, field)] == [
        "m.yaml:13:27:",
        "m.yaml:13:40:",
        "m.yaml:14:33:",
    ]


def test_proofs_show_the_warnings_and_stay_good(modules_of: ModulesOf, tmp_path: Path) -> None:
    modules = modules_of({"m.yaml": HL7.replace("PID-3.1", "PID-99"), "rooms.csv": "from,to\nA,B\n"})
    proof = prove(tmp_path, site={})
    assert proof.is_good
    assert proof.lines == modules.warnings
    assert len(modules.warnings) == 1


def test_the_shipped_modules_have_neither_fault_nor_warning() -> None:
    modules = Modules.load(ROOT / "mappings", site={"timezone": "Europe/London"})
    assert modules.faults == ()
    assert modules.warnings == ()


def test_every_transform_is_known_to_give_something() -> None:
    assert not GIVES.keys() & KEEPS
    assert not PLAIN & (GIVES.keys() | KEEPS)
    assert set(TRANSFORMS) == {*GIVES, *KEEPS, *PLAIN}
    assert set(GIVES.values()) == set(FITS)
