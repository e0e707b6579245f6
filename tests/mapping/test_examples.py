"""Examples inside a module: what counts as met, and how a difference reads."""

from collections.abc import Callable

import pytest

from gateway.mapping import examples
from gateway.mapping.registry import Modules

ModulesOf = Callable[..., Modules]

MODULE = """\
mapping: m
source: hl7v2
match: {MSH-9.1: ORM}
skip: [{when: {OBR-24: LAB}, because: laboratory}]
action: {from: ORC-1, table: {NW: schedule}}
fields:
  PatientID: {from: PID-3, required: hold}
  PatientSex: {from: PID-8, required: warn}
  RequestedProcedureCodeSequence: {from: OBR-4, do: [code]}
examples:
  - name: e
    message: |
      MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3
      PID|1
      ORC|NW
      OBR|1|||X^Thing^L
      ORC|NW
      OBR|2|||Y^Blood^L||||||||||||||||||||LAB
    expect:
"""
SKIPPED = "      - {skip: laboratory}\n"


@pytest.mark.parametrize(
    ("expect", "difference"),
    [
        ("{held: PatientID}", ""),
        ("{held: [PatientID], warned: PatientSex, PatientID: null}", ""),
        ("{held: PatientID, RequestedProcedureCodeSequence: [{CodeValue: X}]}", ""),
        ("{action: schedule}", "it is held: m.yaml:7: PatientID is required"),
        ("{held: [PatientID, Modality]}", "Modality does not hold it"),
        ("{held: PatientID, warned: []}", "warned of ['PatientSex'], expected []"),
        ("{held: PatientID, PatientSex: F}", "PatientSex is absent, expected 'F'"),
        (
            "{held: PatientID, RequestedProcedureCodeSequence: [{CodeValue: Y}]}",
            'expected [{"CodeValue": "Y"}]',
        ),
        ("{skip: ''}", "it was not skipped"),
    ],
)
def test_an_expectation_is_partial_and_strict_about_faults(
    modules_of: ModulesOf, expect: str, difference: str
) -> None:
    modules = modules_of({"m.yaml": f"{MODULE}      - {expect}\n{SKIPPED}"})
    if difference:
        assert difference in modules.faults[0]
        assert modules.faults[0].startswith("m.yaml:20:")
        assert "example 'e': order 1: " in modules.faults[0]
    else:
        assert modules.faults == ()
        assert examples.run(modules.module("m")) == ()


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        (SKIPPED, "", "1 orders are expected, the message has 2"),
        ("laboratory}\n", "blood}\n", "skipped because 'laboratory', expected 'blood'"),
        ("{skip: laboratory}", "{PatientID: 7}", "it was skipped: laboratory"),
        ("||ORM^O01|", "||ADT^A01|", "the module's own 'match' does not accept the message"),
        ("      MSH|", "      MSX|", "the message is no HL7"),
    ],
)
def test_a_difference_says_what_came_out(
    modules_of: ModulesOf, before: str, after: str, difference: str
) -> None:
    whole = f"{MODULE}      - {{held: PatientID}}\n{SKIPPED}"
    modules = modules_of({"m.yaml": whole.replace(before, after)})
    assert any(difference in fault for fault in modules.faults), modules.faults


def test_what_a_child_makes_otherwise_of_its_parent_s_examples_is_told(modules_of: ModulesOf) -> None:
    whole = f"{MODULE}      - {{held: PatientID, PatientSex: null}}\n{SKIPPED}"
    child = "mapping: c\nextends: m\nmatch: {MSH-4.1: ELSEWHERE, MSH-9.1: ORM}\nfields: {PatientSex: {default: O}}\n"
    modules = modules_of({"m.yaml": whole, "c.yaml": child})
    assert modules.faults == ()
    known = {name: modules.module(name) for name in modules.names}
    (difference,) = examples.inherited(known["c"], known)
    assert str(difference) == (
        "m.yaml:20:27: example 'e': order 1: PatientSex is 'O', expected absent (default; c.yaml:4)"
    )
    assert examples.inherited(known["m"], known) == ()
