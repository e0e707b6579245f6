"""The library of machine profiles: read, linted and chosen."""

from pathlib import Path

import pytest

from gateway.dicom.machines import Machines
from gateway.dicom.profiles import IMPLICIT, Groups, Profile, Station
from gateway.dicom.profiles_reading import read_library, read_profile
from gateway.model.errors import Invalid

LIBRARY = Path(__file__).parents[2] / "mappings" / "machines"

FULL = """\
profile: old-one
about: everything a profile can say
detect: {implementation: ["1.2.3.*", 1.2.4], calling_ae: OLD}
text:
  character_sets: [asked, '\\ISO 2022 IR 87', ISO_IR 100]
  transliterate: yes
  replace: {"\\\\": " "}
  longest: {AccessionNumber: 16}
  too_long: cut
names: {groups: alphabetic, case: upper, components: 2}
keys: {required: [PatientID], omitted: PatientComments, omitted_when_empty: [PregnancyStatus], filled: {PatientSex: O}}
query: {station: any, days_before: 1}
answers: {transfer_syntaxes: implicit, pending: FF01, limit: 20, beyond_limit: end, station: calling}
expect: {mpps: yes, reports: no, commitment: sometimes, commitment_association: new}
"""


def test_what_a_machine_does_beside_the_worklist_is_known_by_its_name() -> None:
    profile = read_profile(FULL.encode(), "old-one.yaml")
    assert profile.expectations == {
        "exam status (MPPS)": "yes",
        "reports (SR)": "no",
        "storage commitment": "sometimes",
    }


def test_the_library_has_no_fault() -> None:
    library = read_library(LIBRARY)
    assert library.faults == ()
    assert {"default", "ge-lightspeed", "samsung-medison", "esaote-mylab"} <= set(library.profiles)
    assert library.profiles["default"] == Profile(
        name="default", about="any machine that follows the standard", version=library.profiles["default"].version
    )  # fmt: skip


def test_every_rule_of_the_library_names_its_source() -> None:
    for path in LIBRARY.glob("*.yaml"):
        assert "Source: " in path.read_text(encoding="utf-8") or path.stem == "samsung-medison", path.name


def test_everything_that_can_be_said_is_read() -> None:
    found = read_profile(FULL.encode(), "old-one.yaml")
    assert found.implementations == ("1.2.3.*", "1.2.4")
    assert found.charsets == (("asked",), ("", "ISO 2022 IR 87"), ("ISO_IR 100",))
    assert (found.is_transliterated, found.replaced, found.longest, found.is_cut) == (
        True, {"\\": " "}, {"AccessionNumber": 16}, True,
    )  # fmt: skip
    assert (found.groups, found.is_upper, found.components) == (Groups.ALPHABETIC, True, 2)
    assert (found.required, found.omitted) == (frozenset({"PatientID"}), frozenset({"PatientComments"}))
    assert (found.filled, found.days, found.asked_station) == ({"PatientSex": "O"}, (1, 0), Station.ANY)
    assert (found.syntaxes, found.pending, found.limit) == ((IMPLICIT,), 0xFF01, 20)
    assert (found.is_limit_silent, found.answered_station) == (True, Station.CALLING)
    assert (found.mpps, found.reports, found.commitment_association) == ("yes", "no", "new")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("colour: red", "a.yaml:3:1: unknown key 'colour'"),
        ("answer: {limit: 1}", "a.yaml:3:1: unknown key 'answer'; did you mean 'answers'?"),
        ("answers: {limit: many}", "a.yaml:3:18: a whole number from 0 to 1000000 is wanted here"),
        ("answers: {pending: FF02}", "a.yaml:3:20: 'FF02' is none of FF00, FF01; did you mean 'FF01'?"),
        ("answers: {station: any}", "a.yaml:3:20: 'any' is none of scheduled, calling, asked"),
        ("keys: {required: PatientNam}", "a.yaml:3:18: 'PatientNam' is no DICOM keyword; did you mean 'PatientName'?"),
        ("text: {character_sets: [ISO_IR 1000]}", "a.yaml:3:25: 'ISO_IR 1000' is no defined term"),
        ("text: {replace: {ab: c}}", "a.yaml:3:18: one character is wanted here"),
        ("text: [1]", "a.yaml:3:7: 'text' is a mapping of keys to values"),
        ("keys: {filled: [x]}", "a.yaml:3:16: a mapping of keys to values is wanted here"),
        ("detect: {implementation: 1.x}", "a.yaml:3:26: a UID"),
        ("names: {case: }", "a.yaml:3:14: a text is wanted here"),
    ],
)  # fmt: skip
def test_faults_have_their_place(line: str, fault: str) -> None:
    with pytest.raises(Invalid) as found:
        read_profile(f"profile: a\nabout: b\n{line}\n".encode(), "a.yaml")
    assert len(found.value.faults) == 1
    assert found.value.faults[0].startswith(fault)


def test_a_profile_needs_its_name_and_says_for_whom_it_is() -> None:
    with pytest.raises(Invalid) as found:
        read_profile(b"names: {components: 6}\n", "a.yaml")
    assert len(found.value.faults) == 3
    with pytest.raises(Invalid, match="another name"):
        read_profile(b"profile: b\nabout: x\n", "a.yaml")


def _write(folder: Path, name: str, more: str = "") -> None:
    (folder / f"{name}.yaml").write_text(f"profile: {name}\nabout: x\n{more}", encoding="utf-8")


def test_the_configuration_then_the_implementation_then_the_title_decide(tmp_path: Path) -> None:
    _write(tmp_path, "wide", 'detect: {implementation: "1.2.3.*"}\n')
    _write(tmp_path, "near", 'detect: {implementation: "1.2.3.4.*"}\n')
    _write(tmp_path, "titled", "detect: {calling_ae: [ECHO]}\n")
    machines = Machines(tmp_path, {"US1": "titled", "US2": ""})
    assert machines.faults == ()
    assert machines.choose("US1", "1.2.3.4.5").name == "titled"
    assert machines.choose("US2", "1.2.3.4.5").name == "near"
    assert machines.choose("ECHO", "1.2.3.9").name == "wide"
    assert machines.choose("ECHO", "9.9").name == "titled"
    assert machines.choose("ECHO").name == "titled"
    assert machines.choose("X", "9.9") == Profile()


def test_a_name_that_is_none_is_told_and_the_default_used(tmp_path: Path) -> None:
    _write(tmp_path, "ge-logiq")
    machines = Machines(tmp_path, {"US1": "ge-logik"})
    assert machines.faults == (
        "stations: US1: 'ge-logik' is no machine profile in use; did you mean 'ge-logiq'?",
    )
    assert machines.choose("US1").name == "default"


def test_a_file_that_becomes_faulty_leaves_its_profile_as_it_was(tmp_path: Path) -> None:
    _write(tmp_path, "one", "answers: {limit: 7}\n")
    machines = Machines(tmp_path, {"US1": "one"})
    assert not machines.look()
    _write(tmp_path, "one", "answers: {limit: seven}\n")
    assert machines.look()
    assert list(machines.faults) == [
        f"{tmp_path.name}/one.yaml:3:18: a whole number from 0 to 1000000 is wanted here",
    ]
    assert machines.choose("US1").limit == 7
    _write(tmp_path, "one", "answers: {limit: 8}\n")
    assert machines.look()
    assert not machines.faults
    assert machines.choose("US1").limit == 8
