import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from gateway.model.ids import StudyId, Uid
from gateway.model.measurement import Circumstances, Code, Measurement, Report
from gateway.model.study import PictureState, Received, SeriesFacts, StudyFacts, StudyState
from gateway.store import studies
from gateway.store.database import Database

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def _received(sop_uid: str, series_uid: str = "1.1", modality: str = "US") -> Received:
    return Received(
        sop_uid=Uid(sop_uid), sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"), series_uid=Uid(series_uid),
        study_uid=Uid("1.2.3"), transfer_syntax=Uid("1.2.840.10008.1.2.1"), modality=modality, patient_id="MRN1",
        issuer="", patient_name="Doe^Jane", birth_date="19800214", sex="F", accession="A1", study_id="1",
        study_date="20261123", study_time="090000", zone_offset="", study_description="Abdomen", series_number="1",
        series_description="", instance_number="1", frames=1, calling_ae="US1",
    )  # fmt: skip


def _add(database: Database, received: Received, at: datetime = NOW) -> StudyId:
    with database.write() as tx:
        stored = studies.StoredFile(path=f"a/{received.sop_uid}.dcm", size=10, sha256="0" * 64)
        return studies.add(tx, received, stored, NOW, at)


def test_instances_gather_in_their_series_and_study(database: Database) -> None:
    study_id = _add(database, _received("1"))
    assert _add(database, _received("2")) == study_id
    assert _add(database, _received("3", series_uid="1.2", modality="SR")) == study_id
    with database.read() as tx:
        study = studies.show(tx, study_id)
    assert [(part.modality, len(part.instances)) for part in study.series] == [("US", 2), ("SR", 1)]
    assert (study.instance_count, study.state, study.patient_id) == (3, StudyState.RECEIVING, "MRN1")


def test_what_the_header_says_for_others_comes_back(each_database: Database) -> None:
    kidney = Code(value="64033007", scheme="SCT", meaning="Kidney")
    study_facts = StudyFacts(
        zone_offset="+0100", accession_issuer="RIS", referring="Who^A", procedure=(kidney,)
    )
    series_facts = SeriesFacts(
        date="20261123", body_part="KIDNEY", region=kidney, laterality="L", station="R1"
    )
    received = replace(_received("1"), facts=study_facts, series_facts=series_facts, title="ORIGINAL PRIMARY")
    study_id = _add(each_database, received)
    _add(each_database, _received("2", series_uid="1.2"))
    with each_database.read() as tx:
        study = studies.show(tx, study_id)
    assert study.facts == study_facts
    assert [one.facts for one in study.series] == [series_facts, SeriesFacts()]
    assert study.series[0].instances[0].title == "ORIGINAL PRIMARY"


def test_a_sop_instance_uid_can_be_stored_once(database: Database) -> None:
    _add(database, _received("1"))
    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        _add(database, _received("1"))


def test_a_study_is_quiet_only_after_its_last_image(database: Database) -> None:
    study_id = _add(database, _received("1"))
    _add(database, _received("2"), NOW + timedelta(seconds=30))
    with database.read() as tx:
        assert studies.quiet_since(tx, NOW + timedelta(seconds=29)) == ()
        assert studies.quiet_since(tx, NOW + timedelta(seconds=30)) == (study_id,)


def test_a_late_image_opens_a_complete_study_again(database: Database) -> None:
    study_id = _add(database, _received("1"))
    with database.write() as tx:
        studies.complete(tx, study_id, NOW)
    _add(database, _received("2"), NOW + timedelta(days=3))
    with database.read() as tx:
        assert studies.show(tx, study_id).state is StudyState.RECEIVING


def test_measurements_come_back_as_they_were_and_replace_older_ones(database: Database) -> None:
    _add(database, _received("1"))
    side = (
        Code(value="272741003", scheme="SCT", meaning="Laterality"),
        Code(value="7", scheme="L", meaning="x"),
    )
    report = Report(
        sop_uid="1.2", is_complete=True, is_verified=False, is_preliminary=True, replaces=("1.1",)
    )
    length = Measurement(
        name=Code(value="11820-8", scheme="LN", meaning="Biparietal Diameter"), value="52.10",
        unit=Code(value="mm", scheme="UCUM", meaning="millimeter"), context=("Fetal Biometry",), path="1.2",
        circumstances=Circumstances(subject="A", modifiers=(side,), qualifier=side[0], report=report),
    )  # fmt: skip
    bare = Measurement(name=length.name, value="", unit=None, context=(), path="1.3")
    with database.read() as tx:
        ((instance_id, _),) = studies.unexamined(tx)
    for _ in range(2):
        with database.write() as tx:
            studies.examined(
                tx, instance_id, picture=PictureState.READY, thumbnail="t", found=(length, bare), at=NOW
            )
    with database.read() as tx:
        study = studies.of_uid(tx, Uid("1.2.3"))
        assert study is not None
        assert study.measurements == (length, bare)
        assert studies.unexamined(tx) == ()


def test_studies_a_person_should_look_at_are_those_without_order_or_with_a_doubt(database: Database) -> None:
    study_id = _add(database, _received("1"))
    with database.read() as tx:
        assert [study.id for study in studies.unlinked(tx)] == [study_id]
