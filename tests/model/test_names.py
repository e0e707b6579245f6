"""Names compared as a person would."""

import pytest

from gateway.model.names import is_alike


@pytest.mark.parametrize(
    ("asked", "name", "expected"),
    [
        ("mueller", "Müller^Jörg", True),
        ("Muller^Jorg", "MÜLLER^JÖRG", True),
        ("jörg müller", "Müller^Jörg", True),
        ("Smith-J*", "Smith^John", True),
        ("Jonson", "Johnson^Ann", True),
        ("Jhonson", "Johnson^Ann", True),
        ("Johnsen", "Johnson^Ann", True),
        ("Lee", "Leo^X", False),
        ("Smith^John", "Smith^Jane", False),
        ("Yamada", "Yamada^Tarou=山田^太郎", True),
        ("山田", "Yamada^Tarou=山田^太郎", True),
        ("*", "Doe^Jane", True),
        ("Doe", "", False),
    ],
)
def test_what_is_meant_is_found(asked: str, name: str, expected: bool) -> None:
    assert is_alike(asked, name) is expected
