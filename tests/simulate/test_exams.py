"""The planned examinations."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.simulate.exams import planned


def test_the_same_day_gives_the_same_orders(now: datetime) -> None:
    assert planned(now, 4) == planned(now, 4)


def test_patients_and_accession_numbers_differ(now: datetime) -> None:
    exams = planned(now, 6)
    assert len({exam.patient_id for exam in exams}) == 6
    assert len({exam.accession for exam in exams}) == 6


@pytest.mark.parametrize("clock", [(0, 0), (12, 30), (23, 50), (23, 59)])
def test_every_exam_is_on_the_day_it_was_planned(clock: tuple[int, int]) -> None:
    at = datetime(2026, 11, 23, *clock, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert {exam.start.date() for exam in planned(at, 6)} == {at.date()}


def test_identifiers_fit_the_standard(now: datetime) -> None:
    for exam in planned(now, 6):
        assert len(exam.accession) <= 16
        assert len(exam.person_name) <= 64
