"""The same messages with other modules: what changed, what is new, what is lost."""

from collections.abc import Callable

import pytest

from gateway.mapping.diff import Kind, compare
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable
from gateway.model.er7 import read_er7

ModulesOf = Callable[..., Modules]

PARENT = """
mapping: m
about: test
source: hl7v2
match: {MSH-9.1: ORM}
skip:
  - when: {OBR-24: LAB}
    because: no imaging
each: order
action: {from: ORC-1, table: {NW: schedule, CA: cancel}, unmapped: hold}
fields:
  PatientID: {from: PID-3.1, required: hold}
  AccessionNumber: {from: OBR-18}
"""


@pytest.fixture
def before(modules_of: ModulesOf) -> Modules:
    modules = modules_of({"m.yaml": PARENT})
    assert modules.faults == ()
    return modules


def message(control: str = "NW", section: str = "US", filler: str = "F1") -> tuple[str, Readable]:
    text = (
        "MSH|^~\\&|A|B|C|D|2026||ORM^O01|1|P|2.3\rPID|1||7\r"
        f"ORC|{control}\rOBR|1||{filler}|||||||||||||||ACC1||||||{section}"
    )
    return "1", Readable(text=text, content=read_er7(text))


def test_nothing_is_otherwise_with_the_same_modules(before: Modules) -> None:
    found = compare(before, before, [message(), message("CA")])
    assert (found.messages, found.entries) == (2, ())


def test_a_changed_attribute_is_told_old_and_new(before: Modules, modules_of: ModulesOf) -> None:
    after = modules_of({"m.yaml": PARENT.replace("OBR-18", "OBR-3.1")})
    (entry,) = compare(before, after, [message()]).entries
    assert (entry.kind, entry.accession, entry.number) == (Kind.CHANGED, "F1", 1)
    (change,) = entry.changes
    assert (change.keyword, change.before, change.after) == ("AccessionNumber", "ACC1", "F1")


def test_a_held_order_is_an_entry_and_its_state_a_change(before: Modules, modules_of: ModulesOf) -> None:
    after = modules_of({"m.yaml": PARENT.replace("PID-3.1", "PID-4.1")})
    (entry,) = compare(before, after, [message()]).entries
    assert entry.kind is Kind.CHANGED
    assert ("state", "free", "held for PatientID") in [(c.keyword, c.before, c.after) for c in entry.changes]


@pytest.mark.parametrize(
    ("old", "new"), [("LAB", "US"), ("NW: schedule", "NW: ignore"), ("required: hold", "required: reject"),
                     ("MSH-9.1: ORM", "MSH-9.1: OMG")]
)  # fmt: skip
def test_an_entry_that_is_skipped_ignored_refused_or_unmatched_is_lost_and_the_way_back_is_new(
    before: Modules, modules_of: ModulesOf, old: str, new: str
) -> None:
    changed = PARENT.replace(old, new).replace("PID-3.1", "PID-4.1" if "reject" in new else "PID-3.1")
    after = modules_of({"m.yaml": changed})
    assert after.faults == ()
    assert [entry.kind for entry in compare(before, after, [message()]).entries] == [Kind.LOST]
    assert [entry.kind for entry in compare(after, before, [message()]).entries] == [Kind.NEW]


def test_orders_are_paired_by_their_numbers_when_one_is_skipped(
    before: Modules, modules_of: ModulesOf
) -> None:
    text = (
        "MSH|^~\\&|A|B|C|D|2026||ORM^O01|1|P|2.3\rPID|1||7\r"
        "ORC|NW\rOBR|1|||||||||||||||||A1||||||US\rORC|NW\rOBR|2|||||||||||||||||A2||||||CT"
    )
    after = modules_of({"m.yaml": PARENT.replace("LAB", "US")})
    found = compare(before, after, [("7", Readable(text=text, content=read_er7(text)))])
    assert [(e.message, e.number, e.kind, e.accession) for e in found.entries] == [("7", 1, Kind.LOST, "A1")]
