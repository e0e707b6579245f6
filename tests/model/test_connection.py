import pytest

from gateway.model.connection import read_subject, subject_in
from gateway.model.errors import Invalid


def test_a_subject_is_read_by_the_short_names_of_its_attributes() -> None:
    expected = {("commonName", "ehr"), ("organizationName", "Hospital, General")}
    assert read_subject("CN=ehr, o = Hospital\\, General") == expected


def test_a_subject_is_that_of_the_certificate() -> None:
    shown = {"subject": ((("organizationName", "Hospital, General"),), (("commonName", "ehr"),))}
    assert subject_in(shown) == read_subject("CN=ehr,O=Hospital\\, General")
    assert subject_in(None) == subject_in({}) == frozenset()


@pytest.mark.parametrize("text", ["", "ris", "CN=", "XX=ris", "CN=ris,"])
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_subject(text)
