from datetime import UTC, datetime, timedelta

import pytest

from gateway.model.resource import Held, is_older
from gateway.store import resources
from gateway.store.database import Database

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MRN = "urn:oid:1.2.3"


def patient(
    *,
    source: str = "ehr",
    own_id: str = "7",
    version: str = "",
    last_updated: datetime | None = None,
    body: bytes = b"{}",
    at: datetime = AT,
    identifiers: tuple[tuple[str, str], ...] = (),
    is_deleted: bool = False,
) -> Held:
    return Held(
        source=source,
        type="Patient",
        id=own_id,
        version=version,
        last_updated=last_updated,
        body=body,
        at=at,
        identifiers=identifiers,
        is_deleted=is_deleted,
    )


def test_a_resource_is_found_by_its_id_in_its_own_source_alone(database: Database) -> None:
    held = patient(version="3", last_updated=AT, body=b'{"a":52.10}', identifiers=((MRN, "M1"), ("", "X")))
    with database.write() as tx:
        assert resources.save(tx, held)
    with database.read() as tx:
        assert resources.of(tx, "ehr", "Patient", "7") == held
        assert resources.of(tx, "other", "Patient", "7") is None
        assert resources.of(tx, "ehr", "Encounter", "7") is None
        assert resources.of(tx, "ehr", "Patient", "8") is None


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        (("10", AT), ("9", AT + timedelta(hours=1)), "first"),
        (("9", AT), ("10", AT - timedelta(hours=1)), "second"),
        (("a1", AT), ("a0", AT - timedelta(seconds=1)), "first"),
        (("a1", AT), ("a0", AT + timedelta(seconds=1)), "second"),
        (("", None), ("", None), "second"),
        (("5", AT), ("5", AT), "second"),
        (("5", None), ("", AT), "second"),
    ],
)
def test_the_newer_version_stays_whichever_comes_last(
    database: Database, first: tuple[str, datetime | None], second: tuple[str, datetime | None], stays: str
) -> None:
    with database.write() as tx:
        assert resources.save(tx, patient(version=first[0], last_updated=first[1], body=b"first"))
        is_saved = resources.save(tx, patient(version=second[0], last_updated=second[1], body=b"second"))
        held = resources.of(tx, "ehr", "Patient", "7")
    assert is_saved is (stays == "second")
    assert held is not None
    assert held.body == stays.encode()


def test_resources_are_found_by_identifier_with_a_system_without_one_and_with_any(database: Database) -> None:
    with database.write() as tx:
        resources.save(tx, patient(own_id="7", identifiers=((MRN, "M1"),)))
        resources.save(tx, patient(own_id="8", identifiers=(("", "M1"),), at=AT + timedelta(seconds=1)))
        resources.save(tx, patient(own_id="9", identifiers=((MRN, "M1"),), is_deleted=True))
        resources.save(tx, patient(own_id="7", source="other", identifiers=((MRN, "M1"),)))

        def ids(identifier: tuple[str | None, str] | None, limit: int = 50) -> list[str]:
            found = resources.find(tx, "ehr", "Patient", identifier=identifier, limit=limit)
            return [held.id for held in found]

        assert ids((MRN, "M1")) == ["7"]
        assert ids(("", "M1")) == ["8"]
        assert ids((None, "M1")) == ["8", "7"]
        assert ids((MRN, "M2")) == []
        assert ids(None) == ["8", "7"]
        assert ids(None, limit=1) == ["8"]


def test_identifiers_that_a_newer_version_has_no_more_find_nothing(database: Database) -> None:
    with database.write() as tx:
        resources.save(tx, patient(version="1", identifiers=((MRN, "M1"), (MRN, "M1"))))
        resources.save(tx, patient(version="2", identifiers=((MRN, "M2"),)))
        assert resources.find(tx, "ehr", "Patient", identifier=(MRN, "M1")) == ()
        assert len(resources.find(tx, "ehr", "Patient", identifier=(MRN, "M2"))) == 1


def test_a_resource_is_not_older_than_itself() -> None:
    assert not is_older(patient(version="2"), patient(version="2"))
