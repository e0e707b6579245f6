"""Studies, series and instances: what machines sent, and what was read from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from gateway.model.errors import NotFound
from gateway.model.ids import InstanceId, OrderId, SeriesId, StudyId, Uid
from gateway.model.measurement import Code, Measurement
from gateway.model.study import Instance, PictureState, Received, Series, Study, StudyState
from gateway.store import changes, facts
from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import instances, measurements, series, studies

# Built once: building a statement takes longer than running it.
_KNOWN = Ready(
    select(instances.c.path, instances.c.size, instances.c.sha256).where(
        instances.c.sop_uid == bindparam("of_uid")
    )
)
_HEAD = Ready(select(studies).where(studies.c.id == bindparam("of_id")))
_STUDY = Ready(select(studies.c.id).where(studies.c.study_uid == bindparam("of_uid")))
_WRITE_STUDY = Ready(update(studies).where(studies.c.id == bindparam("of_id")))
_ADD_STUDY = Ready(insert(studies).returning(studies.c.id))
_SERIES = Ready(
    select(series.c.id).where(
        series.c.study_row == bindparam("of_study"), series.c.series_uid == bindparam("of_uid")
    )
)
_ADD_SERIES = Ready(insert(series).returning(series.c.id))
_ADD_INSTANCE = Ready(insert(instances).inline())


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Where an object's file stands and what it holds."""

    path: str
    size: int
    sha256: str


def known(tx: Tx, sop_uid: Uid) -> StoredFile | None:
    """The file of the instance with that UID, None when it is new."""
    row = _KNOWN.row(tx, {"of_uid": sop_uid})
    return StoredFile(path=row.path, size=row.size, sha256=row.sha256) if row is not None else None


def add(tx: Tx, received: Received, stored: StoredFile, started: datetime | None, at: datetime) -> StudyId:
    """The instance is stored, and its series and study when they are new. The study awaits more again."""
    tx.lock(f"study {received.study_uid}")
    study_id = _study(tx, received, started, at)
    values = {
        "series_row": _series(tx, study_id, received),
        "sop_uid": received.sop_uid,
        "sop_class": received.sop_class,
        "transfer_syntax": received.transfer_syntax,
        "number": received.instance_number,
        "frames": received.frames,
        "path": stored.path,
        "size": stored.size,
        "sha256": stored.sha256,
        "picture": PictureState.PENDING,
        "received_at": at,
        "title": received.title,
    }
    _ADD_INSTANCE.run(tx, values)
    changes.note(tx, "study", study_id, at)
    return study_id


def link(tx: Tx, study_id: StudyId, order_id: OrderId | None, doubt: str, at: datetime) -> None:
    """The study belongs to the order (None: to no known one); `doubt` tells a person why to look."""
    tx.connection.execute(
        update(studies).where(studies.c.id == study_id).values(order_id=order_id, doubt=doubt)
    )
    changes.note(tx, "study", study_id, at)


def complete(tx: Tx, study_id: StudyId, at: datetime) -> None:
    """The study is whole, until another image comes."""
    values = {"state": StudyState.COMPLETE, "completed_at": at}
    tx.connection.execute(update(studies).where(studies.c.id == study_id).values(values))
    changes.note(tx, "study", study_id, at)


def quiet_since(tx: Tx, moment: datetime) -> tuple[StudyId, ...]:
    """The studies that still receive and got nothing after `moment`, but for those with a report yet to be read."""
    unread = (
        select(instances.c.id)
        .select_from(instances.join(series))
        .where(series.c.study_row == studies.c.id, series.c.modality == "SR")
        .where(instances.c.picture == PictureState.PENDING)
        .exists()
    )
    query = select(studies.c.id).where(
        studies.c.state == StudyState.RECEIVING, studies.c.last_at <= moment, ~unread
    )
    return tuple(StudyId(row.id) for row in tx.connection.execute(query.order_by(studies.c.id)))


def unexamined(tx: Tx, limit: int = 50) -> tuple[tuple[InstanceId, str], ...]:
    """Instances whose picture and measurements were not read yet, oldest first: id and path."""
    query = select(instances.c.id, instances.c.path).where(instances.c.picture == PictureState.PENDING)
    rows = tx.connection.execute(query.order_by(instances.c.id).limit(limit))
    return tuple((InstanceId(row.id), row.path) for row in rows)


def examined(
    tx: Tx,
    instance_id: InstanceId,
    *,
    picture: PictureState,
    thumbnail: str,
    found: Iterable[Measurement],
    at: datetime,
) -> None:
    """What was read from the instance is stored; what was read before is replaced."""
    values = {"picture": picture, "thumbnail": thumbnail}
    tx.connection.execute(update(instances).where(instances.c.id == instance_id).values(values))
    tx.connection.execute(measurements.delete().where(measurements.c.instance_row == instance_id))
    rows = [_measurement_row(instance_id, measurement) for measurement in found]
    if rows:
        tx.connection.execute(insert(measurements), rows)
    study_id = tx.connection.execute(
        select(series.c.study_row).join(instances).where(instances.c.id == instance_id)
    ).scalar_one()
    changes.note(tx, "study", study_id, at)


def show(tx: Tx, study_id: StudyId) -> Study:
    """The study, whole. Raises NotFound."""
    found = _read(tx, studies.c.id == study_id)
    if not found:
        raise NotFound(f"study {study_id}: there is none with that number")
    return found[0]


def head(tx: Tx, study_id: StudyId) -> Study:
    """The study without its series and measurements, however many it has. The study must be there."""
    row = _HEAD.row(tx, {"of_id": study_id})
    return _read_study(row, [], [])


def of_uid(tx: Tx, study_uid: Uid) -> Study | None:
    """The study with that UID, None when nothing of it came."""
    found = _read(tx, studies.c.study_uid == study_uid)
    return found[0] if found else None


def of_orders(tx: Tx, order_ids: Iterable[OrderId]) -> tuple[Study, ...]:
    """The studies linked to one of the orders."""
    return _read(tx, studies.c.order_id.in_(list(order_ids)))


def unlinked(tx: Tx, limit: int = 50) -> tuple[Study, ...]:
    """The newest studies that a person should look at: no order known, or a doubtful link."""
    wanted = select(studies.c.id).where(studies.c.order_id.is_(None) | (studies.c.doubt != ""))
    return _read(tx, studies.c.id.in_(wanted.order_by(studies.c.last_at.desc()).limit(limit)))


def without_order(tx: Tx, patient_ids: Iterable[str]) -> tuple[Study, ...]:
    """The studies whose images name one of those patients and that belong to no order."""
    named = [patient_id for patient_id in patient_ids if patient_id]
    return _read(tx, studies.c.patient_id.in_(named) & studies.c.order_id.is_(None))


def reopen(tx: Tx, study_id: StudyId) -> None:
    """The study is looked at again: it completes anew after the quiet period, which may be over."""
    values = {"state": StudyState.RECEIVING, "completed_at": None}
    tx.connection.execute(update(studies).where(studies.c.id == study_id).values(values))


def instance(tx: Tx, instance_id: InstanceId) -> Instance:
    """The instance. Raises NotFound."""
    row = tx.connection.execute(select(instances).where(instances.c.id == instance_id)).one_or_none()
    if row is None:
        raise NotFound(f"image {instance_id}: there is none with that number")
    return _read_instance(row)


def _study(tx: Tx, received: Received, started: datetime | None, at: datetime) -> StudyId:
    found: int | None = _STUDY.value(tx, {"of_uid": received.study_uid})
    if found is not None:
        values = {"last_at": at, "state": StudyState.RECEIVING}
        _WRITE_STUDY.run(tx, {"of_id": found, **values})
        return StudyId(found)
    new = {
        "study_uid": received.study_uid,
        "state": StudyState.RECEIVING,
        "accession": received.accession,
        "patient_id": received.patient_id,
        "issuer": received.issuer,
        "patient_name": received.patient_name,
        "birth_date": received.birth_date,
        "sex": received.sex,
        "study_id": received.study_id,
        "started": started,
        "study_date": received.study_date,
        "description": received.study_description,
        "calling_ae": received.calling_ae,
        "first_at": at,
        "last_at": at,
        "facts": facts.plain(received.facts),
    }
    return StudyId(_ADD_STUDY.value(tx, new))


def _series(tx: Tx, study_id: StudyId, received: Received) -> SeriesId:
    same = {"of_study": study_id, "of_uid": received.series_uid}
    found: int | None = _SERIES.value(tx, same)
    if found is not None:
        return SeriesId(found)
    new = {
        "study_row": study_id,
        "series_uid": received.series_uid,
        "modality": received.modality,
        "number": received.series_number,
        "description": received.series_description,
        "facts": facts.plain(received.series_facts),
    }
    return SeriesId(_ADD_SERIES.value(tx, new))


def _read(tx: Tx, condition: Any) -> tuple[Study, ...]:
    rows = tx.connection.execute(select(studies).where(condition).order_by(studies.c.last_at.desc())).all()
    ids = [row.id for row in rows]
    series_of: dict[int, list[Series]] = {study_id: [] for study_id in ids}
    instances_of: dict[int, list[Instance]] = {}
    joined = select(instances).join(series).where(series.c.study_row.in_(ids)).order_by(instances.c.id)
    for row in tx.connection.execute(joined):
        instances_of.setdefault(row.series_row, []).append(_read_instance(row))
    for row in tx.connection.execute(select(series).where(series.c.study_row.in_(ids)).order_by(series.c.id)):
        series_of[row.study_row].append(_read_series(row, instances_of.get(row.id, [])))
    measured = _measured(tx, ids)
    return tuple(_read_study(row, series_of[row.id], measured.get(row.id, [])) for row in rows)


def _measured(tx: Tx, ids: list[int]) -> dict[int, list[Measurement]]:
    query = (
        select(series.c.study_row, measurements)
        .join(instances, instances.c.id == measurements.c.instance_row)
        .join(series, series.c.id == instances.c.series_row)
        .where(series.c.study_row.in_(ids))
        .order_by(measurements.c.id)
    )
    found: dict[int, list[Measurement]] = {}
    for row in tx.connection.execute(query):
        found.setdefault(row.study_row, []).append(_read_measurement(row))
    return found


def _read_study(row: Any, parts: list[Series], measured: list[Measurement]) -> Study:
    return Study(
        id=StudyId(row.id),
        study_uid=Uid(row.study_uid),
        order_id=OrderId(row.order_id) if row.order_id is not None else None,
        state=StudyState(row.state),
        accession=row.accession,
        patient_id=row.patient_id,
        issuer=row.issuer,
        patient_name=row.patient_name,
        birth_date=row.birth_date,
        sex=row.sex,
        study_id=row.study_id,
        started=row.started,
        study_date=row.study_date,
        description=row.description,
        calling_ae=row.calling_ae,
        doubt=row.doubt,
        first_at=row.first_at,
        last_at=row.last_at,
        completed_at=row.completed_at,
        series=tuple(parts),
        measurements=tuple(measured),
        facts=facts.read_study(row.facts),
    )


def _read_series(row: Any, parts: list[Instance]) -> Series:
    return Series(
        id=SeriesId(row.id),
        series_uid=Uid(row.series_uid),
        modality=row.modality,
        number=row.number,
        description=row.description,
        instances=tuple(parts),
        facts=facts.read_series(row.facts),
    )


def _read_instance(row: Any) -> Instance:
    return Instance(
        id=InstanceId(row.id),
        sop_uid=Uid(row.sop_uid),
        sop_class=Uid(row.sop_class),
        transfer_syntax=Uid(row.transfer_syntax),
        number=row.number,
        frames=row.frames,
        path=row.path,
        size=row.size,
        sha256=row.sha256,
        picture=PictureState(row.picture),
        thumbnail=row.thumbnail,
        received_at=row.received_at,
        title=row.title,
    )


def _measurement_row(instance_id: InstanceId, found: Measurement) -> dict[str, Any]:
    unit = found.unit or Code(value="", scheme="", meaning="")
    return {
        "instance_row": instance_id,
        "name_value": found.name.value,
        "name_scheme": found.name.scheme,
        "name_meaning": found.name.meaning,
        "value": found.value,
        "unit_value": unit.value,
        "unit_scheme": unit.scheme,
        "unit_meaning": unit.meaning,
        "has_unit": int(found.unit is not None),
        "context": list(found.context),
        "path": found.path,
        "circumstances": facts.plain(found.circumstances),
    }


def _read_measurement(row: Any) -> Measurement:
    unit = (
        Code(value=row.unit_value, scheme=row.unit_scheme, meaning=row.unit_meaning) if row.has_unit else None
    )
    return Measurement(
        name=Code(value=row.name_value, scheme=row.name_scheme, meaning=row.name_meaning),
        value=row.value,
        unit=unit,
        context=tuple(row.context),
        path=row.path,
        circumstances=facts.read_measured(row.circumstances),
    )
