"""Which segments belong to which order."""

import pytest

from gateway.mapping.groups import appointment_groups, order_groups, patient_groups
from gateway.mapping.scope import Group
from gateway.model.er7 import read_er7

HEAD = "MSH|^~\\&|RIS|HOSP|GW|RAD|20261114093015||ORM^O01|1|P|2.3.1"


def groups_of(*segments: str) -> tuple[Group, ...]:
    return order_groups(read_er7("\r".join([HEAD, *segments])))


def names(group: Group) -> list[str]:
    return [f"{s.name}{s.value(1)}" for name in group.own for s in group.own[name]]


@pytest.mark.parametrize(
    ("segments", "orders"),
    [
        (["PID|1"], []),
        (["PID|1", "ORC|a"], [["ORCa"]]),
        (["ORC|a", "OBR|1", "ORC|b", "OBR|2"], [["ORCa", "OBR1"], ["ORCb", "OBR2"]]),
        (["OBR|1", "NTE|1", "OBR|2"], [["OBR1", "NTE1"], ["OBR2"]]),
        (
            ["ORC|a", "TQ1|1", "OBR|1", "OBR|2", "DG1|9"],
            [["ORCa", "TQ11", "OBR1"], ["ORCa", "TQ11", "OBR2", "DG19"]],
        ),
        (["ORC|a", "ZOR|1", "OBR|1", "ZDS|x"], [["ORCa", "ZOR1", "OBR1", "ZDSx"]]),
        (["ORC|a", "OBR|1", "IPC|x", "IPC|y"], [["ORCa", "OBR1", "IPCx"], ["ORCa", "OBR1", "IPCy"]]),
        (["ORC|a", "ORC|b", "OBR|1"], [["ORCa"], ["ORCb", "OBR1"]]),
    ],
)
def test_orders_begin_with_orc_or_a_bare_obr(segments: list[str], orders: list[list[str]]) -> None:
    assert [names(group) for group in groups_of(*segments)] == orders


def test_patient_and_visit_are_shared_wherever_they_stand() -> None:
    first, second = groups_of("PID|1", "ORC|a", "OBR|1", "PV1|7", "ORC|b", "OBR|2")
    for group in (first, second):
        assert group.segments("PV1")[0].value(1) == "7"
        assert group.segments("PID")[0].value(1) == "1"
        assert group.segments("MSH")[0].name == "MSH"


def test_a_second_patient_begins_anew() -> None:
    first, second = groups_of("PID|1", "PV1|1", "ORC|a", "PID|2", "ORC|b")
    assert first.segments("PID")[0].value(1) == "1"
    assert second.segments("PID")[0].value(1) == "2"
    assert second.segments("PV1") == ()


def test_a_note_of_the_patient_is_no_note_of_the_order() -> None:
    (group,) = groups_of("PID|1", "NTE|p", "OBX|w", "ORC|a", "OBR|1")
    assert group.segments("NTE") == ()
    assert group.segments("OBX")[0].value(1) == "w"


def test_a_trailing_study_counts_for_the_steps_of_its_procedure_only() -> None:
    def obr(procedure: str) -> str:
        return "OBR|1" + "|" * 18 + procedure

    same = groups_of("ORC|a", obr("RP1"), "ORC|b", obr("RP1"), "ZDS|1.2")
    assert [len(group.segments("ZDS")) for group in same] == [1, 1]
    other = groups_of("ORC|a", obr("RP1"), "ORC|b", obr("RP2"), "ZDS|1.2")
    assert [len(group.segments("ZDS")) for group in other] == [0, 1]
    unnamed = groups_of("ORC|a", "OBR|1", "ORC|b", "OBR|2", "ZDS|1.2")
    assert [len(group.segments("ZDS")) for group in unnamed] == [0, 1]


def test_each_patient_has_the_merge_that_follows_it_and_several_merges_are_several_items() -> None:
    message = read_er7("\r".join([HEAD, "EVN|A40", "PID|1||A", "MRG|B", "PID|2||C", "MRG|D", "MRG|E"]))
    groups = patient_groups(message)
    found = [(g.segments("PID")[0].value(3), g.segments("MRG")[0].value(1)) for g in groups]
    assert found == [("A", "B"), ("C", "D"), ("C", "E")]
    assert all(group.segments("EVN") for group in groups)


def test_a_message_without_a_patient_or_an_appointment_gives_no_item() -> None:
    message = read_er7(f"{HEAD}\rEVN|A08\rAIS|1")
    assert patient_groups(message) == ()
    assert appointment_groups(message) == ()


def test_each_service_has_the_resources_of_its_group_else_those_of_groups_without_a_service() -> None:
    lines = "SCH|1 NTE|1||s PID|1 NTE|1||p RGS|1 AIS|1||a NTE|1||n AIG|1||g AIS|2||b RGS|2 AIL|1||l"
    one, two = appointment_groups(read_er7("\r".join([HEAD, *lines.split()])))
    assert [sorted(names(one)), sorted(names(two))] == [
        ["AIG1", "AIS1", "NTE1", "NTE1", "RGS1", "SCH1"],
        ["AIG1", "AIS2", "NTE1", "RGS1", "SCH1"],
    ]
    assert [note.value(3) for note in one.segments("NTE")] == ["s", "n"]
    assert [group.segments("AIL")[0].value(3) for group in (one, two)] == ["l", "l"]


def test_an_appointment_without_services_or_without_resource_groups_is_one_item() -> None:
    (bare,) = appointment_groups(read_er7(f"{HEAD}\rSCH|1\rPID|1"))
    assert bare.segments("PID")
    (flat,) = appointment_groups(read_er7(f"{HEAD}\rSCH|1\rAIS|1||a"))
    assert flat.segments("AIS")[0].value(3) == "a"
