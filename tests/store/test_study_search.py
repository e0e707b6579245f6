from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from gateway.model.ids import Uid
from gateway.model.order import Order
from gateway.model.study import Received, SeriesFacts, StudyFacts
from gateway.model.study_search import Wanted
from gateway.model.worklist import Match, Range
from gateway.store import held_objects, studies, study_search
from gateway.store.database import Database, Tx

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def _received(study: str, series: str, sop: str, **changed: str) -> Received:
    received = Received(
        sop_uid=Uid(sop), sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"), series_uid=Uid(series),
        study_uid=Uid(study), transfer_syntax=Uid("1.2.840.10008.1.2.1"), modality="US", patient_id="MRN1",
        issuer="", patient_name="Doe^Jane", birth_date="19800214", sex="F", accession="A1", study_id="1",
        study_date="20261123", study_time="090000", zone_offset="", study_description="Abdomen", series_number="1",
        series_description="", instance_number="1", frames=1, calling_ae="US1",
        facts=StudyFacts(referring="Who^A"), series_facts=SeriesFacts(body_part="KIDNEY"),
    )  # fmt: skip
    return replace(received, **changed)  # type: ignore[arg-type]  # every field changed is text


def _fill(tx: Tx, count: int = 5) -> None:
    for number in range(count):
        for sop, modality in ((1, "US"), (2, "US"), (3, "SR")):
            changed = {"patient_id": f"P{number}", "patient_name": f"Ärger^{number}", "modality": modality}
            received = _received(
                f"1.{number}", f"1.{number}.{modality == 'SR':d}", f"1.{number}.9.{sop}", **changed
            )
            stored = studies.StoredFile(path=f"{number}/{sop}.dcm", size=10, sha256="0" * 64)
            studies.add(tx, received, stored, NOW, NOW)


def test_each_level_is_found_with_what_it_is_part_of(each_database: Database) -> None:
    with each_database.write() as tx:
        _fill(tx)
    with each_database.read() as tx:
        (study,) = study_search.find_studies(tx, Wanted(study_uids=("1.3",)), limit=9)
        series = study_search.find_series(tx, Wanted(study_uids=("1.3",)), limit=9)
        instances = study_search.find_instances(tx, Wanted(sop_uids=("1.3.9.3", "1.1.9.1")), limit=9)
    assert (study.modalities, study.series_count, study.instance_count) == (("US", "SR"), 2, 3)
    assert (study.patient.patient_id, study.referring, study.started) == ("P3", "Who^A", NOW)
    assert [(one.modality, one.instance_count, one.facts.body_part) for one in series] == [
        ("US", 2, "KIDNEY"),
        ("SR", 1, "KIDNEY"),
    ]
    assert [(one.sop_uid, one.series.modality, one.series.study.study_uid) for one in instances] == [
        ("1.3.9.3", "SR", "1.3"),
        ("1.1.9.1", "US", "1.1"),
    ]


@pytest.mark.parametrize(
    "name",
    [Match(values=("ärger^*",), is_wild=True, ignore_case=True), Match(values=("Ärger^?",), is_wild=True)],
)
def test_pages_follow_each_other_without_gaps_also_where_python_decides(
    each_database: Database, name: Match
) -> None:
    with each_database.write() as tx:
        _fill(tx, 7)
    with each_database.read() as tx:
        for wanted in (Wanted(), Wanted(patient_name=name), Wanted(study_date=Range(first="20260101"))):
            pages = [study_search.find_studies(tx, wanted, limit=3, offset=at) for at in (0, 3, 6, 9)]
            assert [[one.study_uid for one in page] for page in pages] == [
                ["1.6", "1.5", "1.4"],
                ["1.3", "1.2", "1.1"],
                ["1.0"],
                [],
            ]


def test_what_the_order_says_wins_over_the_images(
    database: Database, order_factory: Callable[..., Order]
) -> None:
    order = order_factory(
        patient_id="MRN9", name="Smith^Jane", accession="A9", ReferringPhysicianName="Else^B"
    )
    with database.write() as tx:
        stored = studies.StoredFile(path="a.dcm", size=10, sha256="0" * 64)
        study_id = studies.add(tx, _received("1.2", "1.2.1", "1.2.1.1"), stored, None, NOW)
        studies.link(tx, study_id, order.id, "", NOW)

    def found(**wanted: Match) -> list[str]:
        with database.read() as tx:
            return [
                one.patient.name
                for one in study_search.find_studies(tx, Wanted(**wanted), limit=9)  # type: ignore[arg-type]
            ]

    assert found(patient_id=Match(values=("MRN9",))) == ["Smith^Jane"]
    assert found(accession=Match(values=("A9",))) == ["Smith^Jane"]
    assert found(patient_id=Match(values=("MRN1",))) == []
    assert found(accession=Match(values=("A1",))) == []
    with database.read() as tx:
        (study,) = study_search.find_studies(tx, Wanted(), limit=1)
    assert (study.accession, study.referring) == ("A9", "Else^B")


def test_a_study_in_doubt_is_there_only_for_those_who_may_see_it(each_database: Database) -> None:
    with each_database.write() as tx:
        _fill(tx, 2)
        doubtful = studies.of_uid(tx, Uid("1.1"))
        assert doubtful is not None
        studies.link(tx, doubtful.id, None, "another patient", NOW)
    with each_database.read() as tx:
        assert [one.study_uid for one in study_search.find_studies(tx, Wanted(), limit=9)] == ["1.0"]
        assert len(study_search.find_studies(tx, Wanted(with_doubtful=True), limit=9)) == 2
        for level in (study_search.find_series, study_search.find_instances):
            assert level(tx, Wanted(study_uids=("1.1",)), limit=9) == ()
        assert held_objects.held(tx, "1.1", with_doubtful=False) == ()
        assert not held_objects.is_held(tx, "1.1", with_doubtful=False)
        assert held_objects.is_held(tx, "1.1", "1.1.1", with_doubtful=True)
        assert not held_objects.is_held(tx, "1.1", "1.0.1", with_doubtful=True)
        assert [one.path for one in held_objects.held(tx, "1.1", "1.1.0", with_doubtful=True)] == [
            "1/1.dcm",
            "1/2.dcm",
        ]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(patient_id=Match(values=("P1",))),
        Wanted(accession=Match(values=("A1",))),
        Wanted(study_uids=("1.2",)),
        Wanted(study_date=Range(first="20260101", last="20260131")),
    ],
    ids=lambda wanted: next(
        name for name in ("patient_id", "accession", "study_uids", "study_date") if getattr(wanted, name)
    ),
)
def test_studies_are_found_over_indexes(tmp_path: Path, wanted: Wanted) -> None:
    database = Database(f"sqlite:///{tmp_path}/plans.db")
    database.upgrade()
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        asked.append((statement, values))

    with database.read() as tx:
        event.listen(tx.connection, "before_cursor_execute", note)
        study_search.find_studies(tx, wanted, limit=5)
        event.remove(tx.connection, "before_cursor_execute", note)
        plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1]).all()
    database.close()
    assert not [row[3] for row in plan if row[3].startswith("SCAN")]
