"""HL7 paths held against the dictionaries of the versions: a warning each, with line and column."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.lint_hl7 import VERSIONS, matched_versions, note_strangers
from gateway.mapping.lint_walk import Written
from gateway.mapping.loader import Mark, Problems, read_yaml
from gateway.mapping.registry import Modules

ModulesOf = Callable[..., Modules]

HL7 = """\
mapping: m
source: hl7v2
match: {MSH-9.1: ORM}
action: {from: ORC-1, table: {NW: schedule}}
fields:
  Modality: OBR-24
"""


@pytest.mark.parametrize(
    ("match", "field", "warning"),
    [
        ("", "StudyID: PID-99", "7:12: 'PID-99': no version of HL7 has field PID-99 (the last is PID-40)"),
        ("", "StudyID: PIDD-9", None),
        ("", "StudyID: OBS-9", "7:12: 'OBS-9': no version of HL7 has segment OBS"),
        ("", "StudyID: PID-8.7.3", None),
        (
            "",
            "StudyID: PID-3.4.7",
            "7:12: 'PID-3.4.7': no version of HL7 has part 7 of PID-3.4 (the last is 3)",
        ),
        (
            "",
            "StudyID: 'PID-3[44=A].1'",
            "7:12: 'PID-3[44=A].1': no version of HL7 has part 44 of PID-3 (the last is 12)",
        ),
        (
            "",
            "StudyID: 'OBX[99=A]-5.9'",
            "7:12: 'OBX[99=A]-5.9': no version of HL7 has field OBX-99 (the last is OBX-30)",
        ),
        ("", "StudyID: {from: OBR-2, when: {PV9-3: A}}", "7:33: 'PV9-3': no version of HL7 has segment PV9"),
        (
            "",
            "StudyID: {from: OBR-2, do: [{template: '{PID-77}'}]}",
            "7:32: 'PID-77': no version of HL7 has field PID-77 (the last is PID-40)",
        ),
        (
            "",
            "OtherPatientIDsSequence: {each: 'PID-3[*]', item: {PatientID: .1, TypeOfPatientID: .14}}",
            "7:86: '.14': no version of HL7 has part 14 of PID-3 (the last is 12)",
        ),
        (", MSH-12: 2.3.1", "StudyID: TQ1-7", "7:12: 'TQ1-7': HL7 2.3.1 has no segment TQ1"),
        (", MSH-12.1: [2.5.1, 2.3.1]", "StudyID: TQ1-7", ""),
        (
            ", MSH-12: 2.3.1",
            "StudyID: PID-32",
            "7:12: 'PID-32': HL7 2.3.1 has no field PID-32 (the last is PID-30)",
        ),
        (", MSH-12: 2.99", "StudyID: TQ1-7", ""),
        ("", "StudyID: [ZDS-1.1, 'OBX[3.1=8302-2]-5.9', IPC-5.1, PID-8.1, 'NTE[*]-3']", ""),
        (
            "",
            "StudyID: {from: OBR-2, max: 40}",
            "7:31: StudyID (SH) holds 16 characters; max 40 changes nothing",
        ),
        (
            "",
            "StudyID: {from: OBR-2, do: [{truncate: 64}]}",
            "7:32: StudyID (SH) holds 16 characters; truncate 64 leaves more",
        ),
    ],
)
def test_what_a_version_does_not_have_is_a_warning(
    modules_of: ModulesOf, match: str, field: str, warning: str | None
) -> None:
    head = HL7.replace("ORM}", f"ORM{match}}}")
    modules = modules_of({"m.yaml": f"{head}  {field}\n"})
    if warning is None:
        assert modules.faults or modules.warnings
    else:
        assert modules.faults == ()
        assert modules.names == ("m",)
        assert modules.warnings == ((f"m.yaml:{warning}",) if warning else ())


@pytest.mark.parametrize(
    ("match", "versions"),
    [
        ("MSH-9.1: ORM", VERSIONS),
        ("MSH-12: 2.3.1", ("2.3.1",)),
        ("MSH.12: [2.4, 2.3]", ("2.4", "2.3")),
        ("MSH-12.1: 2.9", VERSIONS),
        ("MSH-12: [2.3, 2.9]", VERSIONS),
    ],
)
def test_the_match_says_which_versions_count(match: str, versions: tuple[str, ...]) -> None:
    assert matched_versions(read_yaml(f"match: {{{match}}}".encode(), "m.yaml")) == versions


NUMBER = st.integers(min_value=1, max_value=120)


@given(
    st.sampled_from(["PID", "OBX", "OBR", "MSH", "ZDS", "QQQ", "ORC", "TQ1", "IPC", "NTE"]),
    st.lists(NUMBER, max_size=3),
    st.sampled_from(["", "[*]", "[2]", "[3.1=A]", "[5=$x]", "[99.9=A]"]),
    st.sampled_from(VERSIONS),
)
def test_any_path_is_looked_up_in_any_version(name: str, numbers: list[int], pick: str, version: str) -> None:
    text = name + "".join(
        f"{'.' if at else '-'}{number}{'' if at else pick}" for at, number in enumerate(numbers)
    )
    problems = Problems()
    tree = read_yaml(f"match: {{MSH-12: {version}}}".encode(), "m.yaml")
    note_strangers(tree, [Written(text=text, mark=Mark(file="m.yaml", line=1, column=1))], problems)
    lines = problems.lines()
    assert len(lines) <= 1
    assert not lines or name != "ZDS"
