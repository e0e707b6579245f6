"""Codes that senders use and no mapping table knows: each once, with when it was seen and how often."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select, update

from gateway.model.order import UnknownCode
from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import unmapped_codes

MOST = 500
"""Of one source: a sender that makes codes up fills no disk."""

NOT_A_CODE = "(a text that is no code)"
"""Kept instead of what may be anything, a patient's name too."""

_CODE = re.compile(r"[^\s^|&~]{1,40}")
_MINE = (
    (unmapped_codes.c.source == bindparam("of_source"))
    & (unmapped_codes.c.table_name == bindparam("of_table"))
    & (unmapped_codes.c.code == bindparam("of_code"))
)
_AGAIN = Ready(
    update(unmapped_codes).where(_MINE).values(times=unmapped_codes.c.times + 1, last_at=bindparam("now"))
)
_HOW_MANY = Ready(
    select(func.count()).select_from(unmapped_codes).where(unmapped_codes.c.source == bindparam("of_source"))
)
_NEW = Ready(insert(unmapped_codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A code that a table does not know."""

    source: str
    table: str
    code: str
    first_at: datetime
    last_at: datetime
    times: int


def sighted(tx: Tx, source: str, unknown: Iterable[UnknownCode], at: datetime) -> None:
    """The codes are on the list, each once. The caller holds the lock of the source."""
    for table, code in dict.fromkeys((one.table, _plain(one.code)) for one in unknown):
        mine = {"of_source": source, "of_table": table, "of_code": code}
        if _AGAIN.run(tx, {**mine, "now": at}):
            continue
        if _HOW_MANY.value(tx, {"of_source": source}) < MOST:
            row = {"source": source, "table_name": table, "code": code, "times": 1}
            _NEW.run(tx, {**row, "first_at": at, "last_at": at})


def seen_since(tx: Tx, since: datetime) -> tuple[Sighting, ...]:
    """The codes last seen after `since`, the newest first."""
    query = (
        select(unmapped_codes)
        .where(unmapped_codes.c.last_at > since)
        .order_by(unmapped_codes.c.first_at.desc(), unmapped_codes.c.id.desc())
    )
    return tuple(
        Sighting(
            source=row.source,
            table=row.table_name,
            code=row.code,
            first_at=row.first_at,
            last_at=row.last_at,
            times=row.times,
        )
        for row in tx.connection.execute(query)
    )


def _plain(code: str) -> str:
    return code if _CODE.fullmatch(code) else NOT_A_CODE
