"""The objects of a study, a series, or one alone: where their files and pictures are."""

from dataclasses import dataclass

from sqlalchemy import select

from gateway.model.ids import StudyId, Uid
from gateway.store.database import Tx
from gateway.store.tables import instances, series, studies


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldObject:
    """A stored object. Paths are relative to the files' folder."""

    study_id: StudyId
    study_uid: Uid
    series_uid: Uid
    sop_uid: Uid
    sop_class: Uid
    transfer_syntax: Uid
    path: str
    thumbnail: str  # "" when there is none


def is_held(tx: Tx, study_uid: str, series_uid: str = "", *, with_doubtful: bool) -> bool:
    """Whether there is such a study, or series of it. A study that somebody has yet to look at counts as for `held`."""
    query = select(studies.c.id).join(series, series.c.study_row == studies.c.id)
    query = query.where(studies.c.study_uid == study_uid)
    if series_uid:
        query = query.where(series.c.series_uid == series_uid)
    if not with_doubtful:
        query = query.where(studies.c.doubt == "")
    return tx.connection.execute(query.limit(1)).first() is not None


def held(
    tx: Tx, study_uid: str, series_uid: str = "", sop_uid: str = "", *, with_doubtful: bool
) -> tuple[HeldObject, ...]:
    """The study's objects in the order they came; only the series' or the one object's where it is named.

    A study that somebody has yet to look at has none unless `with_doubtful`.
    """
    query = (
        select(
            studies.c.id,
            studies.c.study_uid,
            series.c.series_uid,
            *(instances.c[name] for name in ("sop_uid", "sop_class", "transfer_syntax", "path", "thumbnail")),
        )
        .join(series, series.c.study_row == studies.c.id)
        .join(instances, instances.c.series_row == series.c.id)
        .where(studies.c.study_uid == study_uid)
        .order_by(series.c.id, instances.c.id)
    )
    if series_uid:
        query = query.where(series.c.series_uid == series_uid)
    if sop_uid:
        query = query.where(instances.c.sop_uid == sop_uid)
    if not with_doubtful:
        query = query.where(studies.c.doubt == "")
    return tuple(
        HeldObject(
            study_id=StudyId(row.id),
            study_uid=Uid(row.study_uid),
            series_uid=Uid(row.series_uid),
            sop_uid=Uid(row.sop_uid),
            sop_class=Uid(row.sop_class),
            transfer_syntax=Uid(row.transfer_syntax),
            path=row.path,
            thumbnail=row.thumbnail,
        )
        for row in tx.connection.execute(query)
    )
