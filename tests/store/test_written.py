from datetime import UTC, datetime

from gateway.model.written import Written
from gateway.store import written
from gateway.store.database import Database

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ADDRESS = "ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:1.2"


def test_what_a_server_calls_a_thing_is_kept_for_each_server(each_database: Database) -> None:
    with each_database.write() as tx:
        written.save(tx, "ehr", ADDRESS, Written(id="7", version="1"), NOW)
        written.save(tx, "ehr", ADDRESS, Written(id="7", version="2"), NOW)
        written.save(tx, "other", ADDRESS, Written(id="9", version=None), NOW)
    with each_database.read() as tx:
        assert written.of(tx, "ehr", ADDRESS) == Written(id="7", version="2")
        assert written.of(tx, "other", ADDRESS) == Written(id="9", version=None)
        assert written.of(tx, "ehr", "Patient?x") is None


def test_what_is_gone_is_forgotten(each_database: Database) -> None:
    with each_database.write() as tx:
        written.save(tx, "ehr", ADDRESS, Written(id="7", version="1"), NOW)
        written.forget(tx, "ehr", ADDRESS)
    with each_database.read() as tx:
        assert written.of(tx, "ehr", ADDRESS) is None
