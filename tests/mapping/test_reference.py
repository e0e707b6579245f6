"""The reference: complete, as committed, and its examples run."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.mapping import reference
from gateway.mapping.groups import order_groups
from gateway.mapping.language import ALTERNATIVE_KEYS, Language
from gateway.mapping.loader import Problems, read_yaml
from gateway.mapping.paths import compile_hl7
from gateway.mapping.reading import MODULE_KEYS
from gateway.mapping.reading_fields import FIELD_KEYS
from gateway.mapping.scope import Data, Datum, Piece, Run, text_of
from gateway.mapping.tables import make_table
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.samples import SAMPLES, Sample
from gateway.mapping.transforms.shape import Setting
from gateway.model.er7 import read_er7

FILE = Path(__file__).parents[2] / "docs" / "mapping-reference.md"
GROUP = order_groups(read_er7("MSH|^~\\&|R|H|G|R|20260314093015||ORM^O01|1|P|2.3\rPV1|1|O|WARD\rOBR|1"))[0]
SETTING = Setting(
    zone=ZoneInfo("America/Chicago"),
    site={"facility": "HOSP"},
    tables={"rooms": make_table("rooms", {"RM2": "CT_ROOM2"})},
    compile_path=lambda text: compile_hl7(text, {}),
)


def test_the_committed_file_is_what_the_engine_writes() -> None:
    assert FILE.read_text(encoding="utf-8") == reference.render()


def test_every_transform_has_an_example_and_every_key_a_meaning() -> None:
    assert SAMPLES.keys() == TRANSFORMS.keys()
    assert set(reference.MODULE) == set(MODULE_KEYS)
    assert set(reference.FIELD) == set(FIELD_KEYS)
    assert set(reference.ALTERNATIVE) == set(ALTERNATIVE_KEYS)


@pytest.mark.parametrize(("name", "sample"), SAMPLES.items(), ids=SAMPLES)
def test_an_example_of_the_reference_is_true(name: str, sample: Sample) -> None:
    problems = Problems()
    tree = read_yaml(
        f"do: [{{{sample.step}}}]".encode() if ": " in sample.step else f"do: [{sample.step}]".encode(), "s"
    )
    steps = Language(problems, SETTING).steps(tree.find("do"))
    assert problems.lines() == ()
    assert sample.step.partition(":")[0] == name
    data: Data = tuple(_given(text) for text in sample.given.split("~"))
    for step in steps:
        data = step.apply(data, Run(scope=GROUP, values={"AccessionNumber": "A1"}))
    assert "~".join(_shown(datum) for datum in data) == sample.made


def _given(text: str) -> Datum:
    if text.startswith("{"):
        element: dict[str, object] = json.loads(text)
        return element
    return Piece(raw=text, segment=GROUP.segments("OBR")[0], level=0) if "^" in text else text


def _shown(datum: Datum) -> str:
    return json.dumps(datum) if isinstance(datum, dict) else text_of(datum)
