"""The published JSON Schema: made from the engine's names, met by every shipped module, and not by broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from gateway.mapping.inherit import merge_modules
from gateway.mapping.language import ALTERNATIVE_KEYS
from gateway.mapping.loader import Entries, Items, Text, Tree, read_yaml
from gateway.mapping.reading import MODULE_KEYS
from gateway.mapping.reading_fields import FIELD_KEYS
from gateway.mapping.schema import render_schema, rendered
from gateway.mapping.transforms.catalogue import TRANSFORMS

MAPPINGS = Path(__file__).parents[2] / "mappings"
MODULES = sorted(MAPPINGS.glob("*.yaml"))
FIRST_LINE = "# yaml-language-server: $schema=schema.json"

SMALL = """\
mapping: small
source: hl7v2
match: {MSH-9.1: [ORM, OMG], not: {empty: ORC}}
site: {mrn: "", tz: null}
action: {from: ORC-1, table: {NW: schedule}, unmapped: hold}
tables: {sex: {M: M}, rooms: rooms.csv}
fields:
  PatientID: {from: ["PID-3[4.1=$mrn].1", {from: PID-2, do: [upper], when: {PV1-2: I}}], required: hold}
  PatientSex: {from: PID-8, table: sex, unmapped: warn}
  AccessionNumber: OBR-18
  IssuerOfPatientID: null
  RequestedProcedureDescription: {from: [OBR-4.2], do: [strip, {truncate: 64}, {replace: {from: a, to: b}}], max: 60}
  OtherPatientIDsSequence: {each: "PID-3[*]", only: {.5: MR}, item: {PatientID: .1, TypeOfPatientID: {default: TEXT}}}
examples:
  - {name: one, message: "MSH|", expect: [{action: schedule, PatientID: 7, held: [order]}, {skip: no order}]}
"""


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    return Draft7Validator(render_schema())


def plain(tree: Tree) -> Any:
    """A module as a JSON value whose scalars are the texts that were written."""
    if isinstance(tree, Text):
        return tree.text
    if isinstance(tree, Items):
        return [plain(item) for item in tree.items]
    return {entry.key: plain(entry.value) for entry in tree}


def read(content: bytes) -> Any:
    return plain(read_yaml(content, "m.yaml"))


def test_the_file_is_what_the_engine_renders() -> None:
    assert (MAPPINGS / "schema.json").read_text(encoding="utf-8") == rendered()


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(render_schema())
    assert json.loads(rendered()) == render_schema()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_shipped_module_meets_it_and_names_it(path: Path, validator: Draft7Validator) -> None:
    content = path.read_bytes()
    assert [error.message for error in validator.iter_errors(read(content))] == []
    assert content.decode().partition("\n")[0] == FIRST_LINE


def test_a_small_module_meets_it(validator: Draft7Validator) -> None:
    assert [error.message for error in validator.iter_errors(read(SMALL.encode()))] == []


def test_a_module_without_short_forms_meets_it_too(validator: Draft7Validator) -> None:
    merged: Entries = merge_modules(None, read_yaml(SMALL.encode(), "m.yaml"))
    assert list(validator.iter_errors(plain(merged))) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("mapping: small", "mappin: small"),
        ("source: hl7v2", "source: hl8"),
        ("source: hl7v2", "fhir_version: DSTU2\nsource: fhir"),
        ("NW: schedule", "NW: shedule"),
        ("action: {from: ORC-1, table: {NW: schedule}, unmapped: hold}", "each: order"),
        ("unmapped: hold", "unmapped: perhaps"),
        ("PatientSex:", "PatientSexx:"),
        ("required: hold", "required: yes"),
        ("required: hold", "requird: hold"),
        ("[upper]", "[uper: 3, lower: 3]"),
        ("{truncate: 64}", "{truncate: few}"),
        ("{truncate: 64}", "truncate"),
        ("{replace: {from: a, to: b}}", "{replace: {form: a}}"),
        ("max: 60", "max: many"),
        ("{from: PID-2, do", "{from: PID-2, value: x, do"),
        ("item: {PatientID: .1,", "item: {PatientId: .1,"),
        ("action: schedule, PatientID", "action: plan, PatientID"),
        ("{name: one, message", "{nam: one, message"),
        ("sex: {M: M}", "sex: [M]"),
        ("each: \"PID-3[*]\", only", "only"),
        ("only: {.5: MR}", "from: PID-3"),
    ],
)  # fmt: skip
def test_a_broken_module_does_not_meet_it(before: str, after: str, validator: Draft7Validator) -> None:
    assert before in SMALL
    assert list(validator.iter_errors(read(SMALL.replace(before, after).encode())))


def test_every_key_has_a_description() -> None:
    defs = render_schema()["$defs"]
    long = next(form for form in defs["field"]["anyOf"] if "properties" in form)["properties"]
    for keys, described in (
        (MODULE_KEYS, render_schema()["properties"]),
        (FIELD_KEYS, long),
        (ALTERNATIVE_KEYS, defs["alternative"]["properties"]),
    ):
        assert set(described) == set(keys)
        for key in keys:
            assert described[key].get("description"), key
            assert described[key]["anyOf"][0], f"{key} may be anything"


def test_every_transform_and_keyword_is_offered() -> None:
    defs = render_schema()["$defs"]
    named = next(form for form in defs["step"]["anyOf"] if "properties" in form)
    assert set(named["properties"]) == set(TRANSFORMS)
    fields = defs["fields"]["properties"]
    assert fields["Modality"] == {"$ref": "#/$defs/CS"}
    assert defs["CS"]["description"] == "CS, at most 16 characters"
    assert "PriorPatientID" in fields
