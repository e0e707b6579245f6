"""Studies, series and instances found by what is known of them now: the order's word wins over the images'.

SQL narrows; Python decides the wildcards and the case of letters, because databases differ in both.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Select,
    case,
    exists,
    func,
    literal_column,
    select,
    union_all,
)

from gateway.model.ids import Uid
from gateway.model.patient import Patient
from gateway.model.study_search import FoundInstance, FoundSeries, FoundStudy, Wanted
from gateway.model.worklist import Match
from gateway.store import facts
from gateway.store.database import Tx
from gateway.store.matching import accepts, matches
from gateway.store.tables import instances, orders, patients, series, studies

_STUDIES = studies.outerjoin(orders, orders.c.id == studies.c.order_id).outerjoin(
    patients, patients.c.id == orders.c.patient_row
)
_SERIES = _STUDIES.join(series, series.c.study_row == studies.c.id)
_INSTANCES = _SERIES.join(instances, instances.c.series_row == series.c.id)


def _of_order(known: "Column[str]", theirs: "Column[str]", ours: "Column[str]") -> "ColumnElement[str]":
    """What the order says where it says who or which, else what the images say."""
    return case((known != "", theirs), else_=ours)


_PATIENT_ID = _of_order(patients.c.patient_id, patients.c.patient_id, studies.c.patient_id)
_ISSUER = _of_order(patients.c.patient_id, patients.c.issuer, studies.c.issuer)
_NAME = _of_order(patients.c.patient_id, patients.c.name, studies.c.patient_name)
_BIRTH_DATE = _of_order(patients.c.patient_id, patients.c.birth_date, studies.c.birth_date)
_SEX = _of_order(patients.c.patient_id, patients.c.sex, studies.c.sex)
_ACCESSION = _of_order(orders.c.accession, orders.c.accession, studies.c.accession)

_IN_A_BATCH = 500  # rows that Python looks at, where it decides


def find_studies(tx: Tx, wanted: Wanted, *, limit: int, offset: int = 0) -> tuple[FoundStudy, ...]:
    """The studies looked for, the newest first."""
    ids = _page(tx, studies.c.id, _STUDIES, wanted, limit, offset)
    known = _studies(tx, ids)
    return tuple(known[number] for number in ids)


def find_series(tx: Tx, wanted: Wanted, *, limit: int, offset: int = 0) -> tuple[FoundSeries, ...]:
    """The series looked for, those of the newest study first, in a study as they came."""
    ids = _page(tx, series.c.id, _SERIES, wanted, limit, offset)
    known = _series(tx, ids)
    return tuple(known[number] for number in ids)


def find_instances(tx: Tx, wanted: Wanted, *, limit: int, offset: int = 0) -> tuple[FoundInstance, ...]:
    """The instances looked for, those of the newest study first, in a series as they came."""
    ids = _page(tx, instances.c.id, _INSTANCES, wanted, limit, offset)
    rows = tx.connection.execute(select(instances).where(instances.c.id.in_(ids))).all()
    parents = _series(tx, [row.series_row for row in rows])
    found = {row.id: _read_instance(row, parents[row.series_row]) for row in rows}
    return tuple(found[number] for number in ids)


def _page(
    tx: Tx, number: "Column[int]", source: FromClause, wanted: Wanted, limit: int, offset: int
) -> list[int]:
    """The ids of the rows on the page asked for."""
    pairs = [(match, text) for match, text in _texts(wanted) if match is not None]
    unsure = [(match, text) for match, text in pairs if match.is_wild or match.ignore_case]
    statement = (
        select(number, *(text for _, text in unsure))
        .select_from(source)
        .where(*_conditions(wanted), *(matches(match, text) for match, text in pairs))
        .order_by(*_order(number))
    )
    if not unsure:
        return list(tx.connection.execute(statement.limit(limit).offset(offset)).scalars())
    with tx.connection.execute(statement.execution_options(yield_per=_IN_A_BATCH)) as rows:
        sure = (row[0] for row in rows if _agrees(row[1:], unsure))
        return list(islice(sure, offset, offset + limit))


def _agrees(values: Sequence[str], unsure: list[tuple[Match, "ColumnElement[str]"]]) -> bool:
    return all(accepts(match, value) for value, (match, _) in zip(values, unsure, strict=True))


def _order(number: "Column[int]") -> "list[ColumnElement[int]]":
    newest = studies.c.id.desc()
    if number is studies.c.id:
        return [newest]
    return [newest, series.c.id] if number is series.c.id else [newest, series.c.id, instances.c.id]


def _texts(wanted: Wanted) -> "tuple[tuple[Match | None, ColumnElement[str]], ...]":
    return (
        (wanted.patient_id, _PATIENT_ID),
        (wanted.issuer, _ISSUER),
        (wanted.patient_name, _NAME),
        (wanted.sex, _SEX),
        (wanted.accession, _ACCESSION),
        (wanted.study_id, studies.c.study_id),
        (wanted.study_description, studies.c.description),
        (wanted.modality, series.c.modality),
        (wanted.series_number, series.c.number),
        (wanted.series_description, series.c.description),
        (wanted.instance_number, instances.c.number),
    )


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    for values, column in (
        (wanted.study_uids, studies.c.study_uid),
        (wanted.series_uids, series.c.series_uid),
        (wanted.sop_uids, instances.c.sop_uid),
        (wanted.sop_classes, instances.c.sop_class),
    ):
        if values:
            yield column.in_(values)
    for span, text in ((wanted.study_date, studies.c.study_date), (wanted.birth_date, _BIRTH_DATE)):
        if span is not None:
            yield text != ""
            yield text >= span.first
            if span.last:
                yield text <= span.last
    if wanted.modalities is not None:
        own = (series.c.study_row == studies.c.id) & matches(wanted.modalities, series.c.modality)
        yield exists(select(1).where(own).correlate(studies).select_from(series))
    if wanted.patient_id is not None and not wanted.patient_id.is_wild:
        yield studies.c.id.in_(_having(wanted.patient_id, studies.c.patient_id, patients.c.patient_id))
    if wanted.accession is not None and not wanted.accession.is_wild:
        yield studies.c.id.in_(_having(wanted.accession, studies.c.accession, orders.c.accession))
    if not wanted.with_doubtful:
        yield studies.c.doubt == ""


def _having(match: Match, ours: "Column[str]", theirs: "Column[str]") -> "Select[Any]":
    """The studies with that value, their own or their order's: a search of one index for each."""
    linked = (
        select(studies.c.id)
        .join(orders, orders.c.id == studies.c.order_id)
        .join(patients, patients.c.id == orders.c.patient_row)
        # The index of patients holds those with an identifier; SQLite takes it only where the statement says so too.
        .where(theirs.in_(match.values), theirs != literal_column("''"))
    )
    together = union_all(select(studies.c.id).where(ours.in_(match.values)), linked).subquery("having")
    return select(together.c[0])


def _studies(tx: Tx, ids: Sequence[int]) -> dict[int, FoundStudy]:
    columns = (
        studies,
        _PATIENT_ID.label("now_id"),
        _ISSUER.label("now_issuer"),
        _NAME.label("now_name"),
        _BIRTH_DATE.label("now_birth_date"),
        _SEX.label("now_sex"),
        _ACCESSION.label("now_accession"),
        orders.c.referring.label("referring"),
    )
    parts = defaultdict(list)
    counted = (
        select(
            series.c.study_row,
            series.c.modality,
            func.count(series.c.id.distinct()).label("series_count"),
            func.count(instances.c.id).label("instance_count"),
        )
        .select_from(series.outerjoin(instances, instances.c.series_row == series.c.id))
        .where(series.c.study_row.in_(ids))
        .group_by(series.c.study_row, series.c.modality)
        .order_by(func.min(series.c.id))
    )
    for row in tx.connection.execute(counted):
        parts[row.study_row].append(row)
    rows = tx.connection.execute(select(*columns).select_from(_STUDIES).where(studies.c.id.in_(ids)))
    return {row.id: _read_study(row, parts[row.id]) for row in rows}


def _series(tx: Tx, ids: Sequence[int]) -> dict[int, FoundSeries]:
    rows = tx.connection.execute(
        select(series, func.count(instances.c.id).label("instance_count"))
        .select_from(series.outerjoin(instances, instances.c.series_row == series.c.id))
        .where(series.c.id.in_(set(ids)))
        .group_by(series.c.id)
    ).all()
    parents = _studies(tx, list({row.study_row for row in rows}))
    return {row.id: _read_series(row, parents[row.study_row]) for row in rows}


def _read_study(row: Any, parts: list[Any]) -> FoundStudy:
    read = facts.read_study(row.facts)
    return FoundStudy(
        study_uid=Uid(row.study_uid),
        patient=Patient(
            patient_id=row.now_id,
            issuer=row.now_issuer,
            name=row.now_name,
            birth_date=row.now_birth_date,
            sex=row.now_sex,
        ),
        accession=row.now_accession,
        study_id=row.study_id,
        description=row.description,
        referring=row.referring or read.referring,
        study_date=row.study_date,
        started=row.started,
        zone_offset=read.zone_offset,
        modalities=tuple(part.modality for part in parts if part.modality),
        series_count=sum(part.series_count for part in parts),
        instance_count=sum(part.instance_count for part in parts),
    )


def _read_series(row: Any, study: FoundStudy) -> FoundSeries:
    return FoundSeries(
        study=study,
        series_uid=Uid(row.series_uid),
        modality=row.modality,
        number=row.number,
        description=row.description,
        facts=facts.read_series(row.facts),
        instance_count=row.instance_count,
    )


def _read_instance(row: Any, parent: FoundSeries) -> FoundInstance:
    return FoundInstance(
        series=parent,
        sop_uid=Uid(row.sop_uid),
        sop_class=Uid(row.sop_class),
        transfer_syntax=Uid(row.transfer_syntax),
        number=row.number,
        frames=row.frames,
    )
