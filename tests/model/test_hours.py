from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.model.errors import Invalid
from gateway.model.hours import read_hours

LONDON = ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    ("text", "now", "opened"),
    [
        ("Mon-Fri 07:00-19:00", "2026-11-23T09:00", "2026-11-23T07:00"),
        ("Mon-Fri 07:00-19:00", "2026-11-23T06:59", None),
        ("Mon-Fri 07:00-19:00", "2026-11-23T19:00", None),
        ("Mon-Fri 07:00-19:00", "2026-11-22T09:00", None),
        ("Mon-Fri 07:00-19:00", "2026-07-20T06:30", "2026-07-20T06:00"),  # summer time
        ("mon-fri 7:00-19:00, Sat 08:00-12:00", "2026-11-28T11:00", "2026-11-28T08:00"),
        ("22:00-06:00", "2026-11-23T23:00", "2026-11-23T22:00"),
        ("22:00-06:00", "2026-11-23T05:00", "2026-11-22T22:00"),
        ("Fri 22:00-06:00", "2026-11-28T05:00", "2026-11-27T22:00"),
        ("Fri 22:00-06:00", "2026-11-27T05:00", None),
        ("Sat-Mon 00:00-24:00", "2026-11-23T13:00", "2026-11-23T00:00"),
        ("Sat-Mon 00:00-24:00", "2026-11-24T13:00", None),
    ],
)
def test_an_instant_lies_in_the_hours_of_the_site(text: str, now: str, opened: str | None) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    expected = datetime.fromisoformat(opened).replace(tzinfo=UTC) if opened else None
    assert read_hours(text).opened(at, LONDON) == expected


def test_no_hours_are_always() -> None:
    assert read_hours("").opened(datetime(2026, 11, 23, tzinfo=UTC), LONDON) is not None


@pytest.mark.parametrize(
    "text", ["Monday", "Mon-Fri", "Mo 07:00-19:00", "07:00-25:00", "07:60-08:00", "9-17", "08:00-08:00"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="hours"):
        read_hours(text)
