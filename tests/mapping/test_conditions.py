"""Conditions on a message."""

from collections.abc import Callable

from gateway.mapping.conditions import AllOf, AnyOf, Empty, Equals, Not, is_disjoint, specificity
from gateway.mapping.paths import Hl7Path, compile_hl7
from gateway.mapping.scope import Group


def path(text: str) -> Hl7Path:
    return compile_hl7(text, {})


def equals(text: str, *values: str) -> Equals:
    return Equals(path=path(text), values=frozenset(values))


def test_a_path_holds_when_any_value_there_is_listed(group_of: Callable[[str], Group]) -> None:
    group = group_of("PID|1||7^^^A~8^^^B\nOBR|1|  x ")
    assert equals("PID-3[*].1", "8", "9").holds(group)
    assert equals("OBR-2", "x").holds(group)
    assert not equals("PID-3", "8").holds(group)
    assert not equals("PV1-2", "").holds(group)


def test_empty_not_any_and_all(group_of: Callable[[str], Group]) -> None:
    group = group_of("PID|1||7\nOBR|1| ")
    no_visit, blank = Empty(paths=(path("PV1-2"),)), Empty(paths=(path("OBR-2"),))
    assert no_visit.holds(group)
    assert blank.holds(group)
    assert not Empty(paths=(path("PV1-2"), path("PID-3"))).holds(group)
    assert not Not(condition=no_visit).holds(group)
    assert AnyOf(conditions=(equals("PID-3", "9"), no_visit)).holds(group)
    assert not AllOf(conditions=(equals("PID-3", "9"), no_visit)).holds(group)


def test_conditions_that_want_different_values_are_disjoint() -> None:
    one = AllOf(conditions=(equals("MSH-9.1", "ORM"), equals("MSH-4.1", "A")))
    other = AllOf(conditions=(equals("MSH-9.1", "ORM"), equals("MSH-4.1", "B")))
    third = AllOf(conditions=(equals("MSH-9.1", "ORM"), equals("MSH-3.1", "X")))
    assert is_disjoint(one, other)
    assert not is_disjoint(one, third)
    assert specificity(one) == 2
