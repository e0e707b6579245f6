"""A site's own transforms: only what is listed, every fault with its file."""

from pathlib import Path

import pytest

from gateway.mapping.registry import Modules
from gateway.mapping.transforms.custom import transform
from gateway.model.er7 import read_er7
from gateway.model.order import OrderRequest

MODULE = """\
mapping: m
source: hl7v2
match: {MSH-9.1: ORM}
action: {from: ORC-1, table: {NW: schedule}}
fields:
  ScheduledStationAETitle: {from: ORC-2, do: [{room_of: "/"}]}
  AccessionNumber: ORC-3
"""
CODE = '''\
from gateway.mapping.transforms.custom import transform

@transform
def room_of(text: str, sep: str = "-") -> str:
    """The room of a resource code."""
    if text == "odd":
        raise KeyError(text)
    if text == "bad":
        raise ValueError(text)
    return text.partition(sep)[0]
'''


def load(folder: Path, code: str, *custom: str) -> Modules:
    (folder / "transforms").mkdir(exist_ok=True)
    (folder / "transforms" / "rooms.py").write_text(code, encoding="utf-8")
    (folder / "m.yaml").write_text(MODULE, encoding="utf-8")
    return Modules.load(folder, site={}, custom=custom)


def order(modules: Modules, placer: str) -> OrderRequest:
    return modules.map_hl7(read_er7(f"MSH|^~\\&|R|H|G|R|2026||ORM|1|P|2.3\rORC|NW|{placer}|A1")).requests[0]


def test_a_listed_file_adds_its_transforms(tmp_path: Path) -> None:
    modules = load(tmp_path, CODE, "rooms.py")
    assert modules.faults == ()
    request = order(modules, "CT2/left")
    assert request.text("ScheduledStationAETitle") == "CT2"
    assert next(p for p in request.provenance if p.keyword != "action").steps == ("room_of /",)


def test_a_file_that_is_not_listed_is_not_loaded(tmp_path: Path) -> None:
    (fault,) = load(tmp_path, "raise SystemExit").faults
    assert fault == "m.yaml:6:48: 'room_of' is no transform"


@pytest.mark.parametrize("placer", ["bad", "odd"])
def test_code_that_fails_holds_the_order_and_names_no_value(tmp_path: Path, placer: str) -> None:
    request = order(load(tmp_path, CODE, "rooms.py"), placer)
    (fault,) = request.faults
    assert "room_of" in fault.text
    assert placer not in fault.text
    assert request.text("AccessionNumber") == "A1"


@pytest.mark.parametrize(
    ("code", "name", "fault"),
    [
        ("1 +", "rooms.py", "rooms.py:1:1: the file cannot be imported: SyntaxError"),
        ("x = 1", "rooms.py", "defines no function with @transform"),
        (CODE.replace("room_of", "upper"), "rooms.py", "the transform 'upper' is there already"),
        (CODE, "nowhere.py", "nowhere.py:1:1: the file cannot be read"),
        (CODE, "../m.yaml", "is a .py file in the folder transforms"),
    ],
)
def test_a_fault_names_the_file(tmp_path: Path, code: str, name: str, fault: str) -> None:
    modules = load(tmp_path, code, name)
    assert fault in modules.faults[0]
    assert modules.faults[0].startswith("transforms/")


def test_the_code_counts_for_the_version(tmp_path: Path) -> None:
    before = load(tmp_path, CODE, "rooms.py").module("m").ref
    assert load(tmp_path, CODE + "# a remark\n", "rooms.py").module("m").ref.version != before.version


def test_a_transform_can_still_be_called() -> None:
    @transform
    def half(text: str, at: str) -> str:
        return text.partition(at)[0]

    assert half("a/b", at="/") == "a"
