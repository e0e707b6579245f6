"""What is within the days and hours asked."""

import pytest

from gateway.model.worklist import Range, starts_within

NIGHT = Range(first="220000", last="020000")
TWO_DAYS = Range(first="20261123", last="20261124")


@pytest.mark.parametrize(
    ("day", "hour", "days", "hours", "expected"),
    [
        ("20261123", "080000", None, None, True),
        ("", "", TWO_DAYS, None, False),
        ("20261123", "", TWO_DAYS, NIGHT, True),
        ("20261123", "213000", TWO_DAYS, NIGHT, False),
        ("20261123", "230000", TWO_DAYS, NIGHT, True),
        ("20261124", "010000", TWO_DAYS, NIGHT, True),
        ("20261124", "030000", TWO_DAYS, NIGHT, False),
        ("20261123", "010000", None, NIGHT, True),
        ("20261123", "120000", None, NIGHT, False),
        ("20261125", "090000", Range(first="20261124"), Range(first="080000", last="100000"), True),
        ("20261124", "070000", Range(first="20261124"), Range(first="080000", last="100000"), False),
        ("20261122", "090000", Range(last="20261124"), Range(first="080000", last="100000"), True),
        ("20261124", "110000", Range(last="20261124"), Range(first="080000", last="100000"), False),
        ("20261123", "080000", TWO_DAYS, Range(first="080000", last="080000"), True),
        ("20261123", "090000", TWO_DAYS, Range(first="080000", last="080000"), False),
    ],
)
def test_days_and_hours_are_one_span(
    day: str, hour: str, days: Range | None, hours: Range | None, expected: bool
) -> None:
    assert starts_within(day, hour, days, hours) is expected
