import pytest

from gateway.model.patient import Patient


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Doe^Jane^Q^Dr", "Doe, Jane Q"),
        ("Doe", "Doe"),
        ("Yamada^Tarou=山田^太郎", "Yamada, Tarou"),
        ("^Jane", ", Jane"),
        ("", ""),
    ],
)
def test_a_name_is_shown_as_people_read_it(name: str, shown: str) -> None:
    assert Patient(patient_id="", issuer="", name=name, birth_date="", sex="").display_name == shown
