from datetime import timedelta

from gateway.model.order import UnknownCode
from gateway.store import codes
from gateway.store.database import Database
from tests.conftest import FakeClock

XR = UnknownCode(table="modality", code="XRX")


def test_a_code_is_listed_once_with_its_first_and_last_sighting(
    each_database: Database, clock: FakeClock
) -> None:
    first = clock()
    with each_database.write() as tx:
        codes.sighted(tx, "ris", (XR, XR), first)
        codes.sighted(tx, "other", (XR,), first)
    clock.advance(seconds=60)
    with each_database.write() as tx:
        codes.sighted(tx, "ris", (XR,), clock())
    with each_database.read() as tx:
        found = {one.source: one for one in codes.seen_since(tx, first - timedelta(days=1))}
        late = codes.seen_since(tx, first)
    assert (found["ris"].times, found["other"].times) == (2, 1)
    assert (found["ris"].first_at, found["ris"].last_at) == (first, clock())
    assert (found["ris"].table, found["ris"].code) == ("modality", "XRX")
    assert [one.source for one in late] == ["ris"]


def test_what_may_be_a_name_is_not_kept(database: Database, clock: FakeClock) -> None:
    with database.write() as tx:
        for text in ("DOE^JANE", "Jane Doe", "X" * 41):
            codes.sighted(tx, "ris", (UnknownCode(table="sex", code=text),), clock())
    with database.read() as tx:
        (found,) = codes.seen_since(tx, clock() - timedelta(days=1))
    assert (found.code, found.times) == (codes.NOT_A_CODE, 3)


def test_a_sender_that_makes_codes_up_fills_no_disk(database: Database, clock: FakeClock) -> None:
    with database.write() as tx:
        many = (UnknownCode(table="modality", code=f"C{number}") for number in range(codes.MOST + 20))
        codes.sighted(tx, "ris", many, clock())
    with database.read() as tx:
        assert len(codes.seen_since(tx, clock() - timedelta(days=1))) == codes.MOST
