"""Objects kept aside: they came under a SOP Instance UID that another object has."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from gateway.model.ids import StudyId, Uid
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.machine_tables import set_aside
from gateway.store.studies import StoredFile
from gateway.store.tables import instances, series


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """An object kept aside. `path` is relative to the files' folder."""

    sop_uid: Uid
    calling_ae: str
    path: str
    size: int
    at: datetime


def is_known(tx: Tx, sop_uid: Uid, sha256: str) -> bool:
    """Whether that very object is kept aside already."""
    same = (set_aside.c.sop_uid == sop_uid) & (set_aside.c.sha256 == sha256)
    return tx.connection.execute(select(set_aside.c.id).where(same)).first() is not None


def add(tx: Tx, sop_uid: Uid, stored: StoredFile, *, calling_ae: str, at: datetime) -> StudyId:
    """The object stands beside the first one with its UID; whose study that is."""
    row = select(series.c.study_row).join(instances).where(instances.c.sop_uid == sop_uid)
    study_id = StudyId(tx.connection.execute(row).scalar_one())
    tx.connection.execute(
        insert(set_aside).values(
            study_row=study_id,
            sop_uid=sop_uid,
            calling_ae=calling_ae,
            path=stored.path,
            size=stored.size,
            sha256=stored.sha256,
            at=at,
        )
    )
    changes.note(tx, "study", study_id, at)
    return study_id


def of_study(tx: Tx, study_id: StudyId) -> tuple[Aside, ...]:
    """What was kept aside beside objects of the study, oldest first."""
    query = select(set_aside).where(set_aside.c.study_row == study_id).order_by(set_aside.c.id)
    return tuple(
        Aside(sop_uid=Uid(row.sop_uid), calling_ae=row.calling_ae, path=row.path, size=row.size, at=row.at)
        for row in tx.connection.execute(query)
    )
