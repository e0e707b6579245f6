"""A folder of modules that changes while it is in use."""

import os
import shutil
from pathlib import Path

import pytest

from gateway.mapping.registry import Modules
from gateway.mapping.watch import Watch, edition, refreshed, versions
from gateway.model.errors import Conflict

MODULE = """
mapping: {name}
about: test
source: hl7v2
match: {{MSH-4.1: {name}}}
each: order
tables: {{sex: tables/sex.csv}}
action: {{from: ORC-1, table: {{NW: schedule}}, unmapped: hold}}
fields:
  PatientID: {{from: PID-3.1, required: hold}}
  PatientSex: {{from: PID-8, table: sex}}
"""
SITE = {"timezone": "Europe/London"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "sex.csv").write_text("from,to\nF,F\n")
    for name in ("one", "two"):
        write(tmp_path, name)
    return tmp_path


def write(folder: Path, name: str, old: str = "PID-3.1", new: str = "PID-3.1") -> None:
    path = folder / f"{name}.yaml"
    path.write_text(MODULE.format(name=name).replace(old, new))
    at = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(at, at))


def test_nothing_is_read_while_nothing_changes(folder: Path) -> None:
    watch = Watch(folder, SITE)
    assert watch.active.names == ("one", "two")
    before = watch.active
    assert watch.look() is False
    assert watch.active is before


def test_a_changed_module_counts_at_once(folder: Path) -> None:
    told: list[Modules] = []
    watch = Watch(folder, SITE, tell=told.append)
    before = versions(watch.active)
    write(folder, "one", "PID-3.1", "PID-4.1")
    assert watch.look() is True
    after = versions(watch.active)
    assert after["one"] != before["one"]
    assert after["two"] == before["two"]
    assert told == [watch.active]


def test_a_changed_table_counts_too(folder: Path) -> None:
    watch = Watch(folder, SITE)
    before = edition(watch.active)
    (folder / "tables" / "sex.csv").write_text("from,to\nF,F\nM,M\n")
    assert watch.look() is True
    assert edition(watch.active) != before


@pytest.mark.parametrize("wrong", ["PID-3.1, from: x", "nonsense(", "PID-3.1}\n  Modality: [", "~~~"])
def test_a_faulty_file_leaves_the_old_version_in_use_and_is_told(folder: Path, wrong: str) -> None:
    watch = Watch(folder, SITE)
    before = versions(watch.active)
    write(folder, "one", "PID-3.1", wrong)
    write(folder, "two", "PID-3.1", "PID-4.1")
    assert watch.look() is True
    assert versions(watch.active)["one"] == before["one"]
    assert versions(watch.active)["two"] != before["two"]
    assert watch.active.faults
    assert all(fault.startswith("one.yaml:") for fault in watch.active.faults)
    write(folder, "one")
    watch.look()
    assert watch.active.faults == ()


def test_an_example_that_fails_leaves_the_old_version_in_use(folder: Path) -> None:
    watch = Watch(folder, SITE)
    before = versions(watch.active)
    example = (
        "examples:\n  - name: wrong\n    message: |\n      MSH|^~\\&|A|one|C|D|2026||ORM^O01|1|P|2.3\n"
        "      PID|1||7\n      ORC|NW\n    expect: [{PatientID: 8}]\n"
    )
    (folder / "one.yaml").write_text(MODULE.format(name="one") + example)
    watch.look()
    assert versions(watch.active) == before
    assert "PatientID is '7', expected '8'" in watch.active.faults[0]


def test_a_deleted_file_takes_its_module_away_and_a_new_one_brings_one(folder: Path) -> None:
    watch = Watch(folder, SITE)
    (folder / "one.yaml").unlink()
    write(folder, "three")
    watch.look()
    assert watch.active.names == ("three", "two")


def test_a_module_under_another_name_in_the_same_file_replaces_it(folder: Path) -> None:
    old = Modules.load(folder, site=SITE)
    write(folder, "one", "mapping: one", "mapping: uno")
    assert refreshed(old, folder, SITE).names == ("two", "uno")


def test_two_modules_that_would_match_equally_change_nothing(folder: Path) -> None:
    watch = Watch(folder, SITE)
    before = versions(watch.active)
    write(folder, "one", "MSH-4.1: one", "MSH-4.1: two")
    watch.look()
    assert versions(watch.active) == before
    assert any("match equally" in fault for fault in watch.active.faults)


def test_by_hand_a_change_waits_until_it_is_activated(folder: Path) -> None:
    watch = Watch(folder, SITE, is_automatic=False)
    before = edition(watch.active)
    write(folder, "one", "PID-3.1", "PID-4.1")
    watch.look()
    pending = watch.standing.pending
    assert pending is not None
    assert edition(watch.active) == before
    watch.activate(edition(pending))
    assert edition(watch.active) == edition(pending) != before
    assert watch.standing.pending is None


def test_only_what_was_looked_at_can_be_activated(folder: Path) -> None:
    watch = Watch(folder, SITE, is_automatic=False)
    with pytest.raises(Conflict):
        watch.activate(edition(watch.active))
    write(folder, "one", "PID-3.1", "PID-4.1")
    watch.look()
    assert watch.standing.pending is not None
    looked_at = edition(watch.standing.pending)
    write(folder, "one", "PID-3.1", "PID-18.1")
    watch.look()
    with pytest.raises(Conflict):
        watch.activate(looked_at)


def test_a_change_taken_back_waits_no_longer(folder: Path) -> None:
    watch = Watch(folder, SITE, is_automatic=False)
    write(folder, "one", "PID-3.1", "PID-4.1")
    watch.look()
    write(folder, "one")
    os.utime(folder / "one.yaml", ns=(1, 1))
    watch.look()
    assert watch.standing.pending is None


def test_a_folder_that_vanishes_takes_no_module_with_it(folder: Path) -> None:
    watch = Watch(folder, SITE)
    shutil.rmtree(folder)
    watch.look()
    assert watch.active.names == ("one", "two")
    assert "is not there" in watch.active.faults[0]
