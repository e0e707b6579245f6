"""What a message is found by, and that no way of finding it reads the whole table."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import text

from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.search import Found, name_key, name_keys
from gateway.store import inbox, search
from gateway.store.database import Database
from gateway.store.search import Wanted

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

Keep = Callable[..., MessageId]


@pytest.fixture
def keep(database: Database) -> Keep:
    """Messages stored a minute apart."""
    numbers = count(1)

    def kept(
        *,
        state: MessageState = MessageState.MAPPED,
        source: str = "ris",
        sender: str = "RIS|GH",
        control_id: str = "",
        message_type: str = "ORM^O01",
        **found: str | tuple[str, ...],
    ) -> MessageId:
        number = next(numbers)
        with database.write() as tx:
            return inbox.add(
                tx,
                Inbound(protocol=Protocol.HL7V2, source=source, peer="", raw=b"MSH|"),
                sha256=f"{number:064}",
                at=NOON + timedelta(minutes=number),
                keys=Keys(control_id=control_id, sender=sender, message_type=message_type),
                state=state,
                reason="",
                module="",
                found=Found(**found),  # type: ignore[arg-type]
            )

    return kept


def _ids(
    database: Database, before: MessageId | None = None, limit: int = 100, **wanted: object
) -> list[int]:
    with database.read() as tx:
        found = search.find(tx, Wanted(**wanted), before=before, limit=limit)  # type: ignore[arg-type]
    return [message.id for message in found]


def test_a_message_is_found_by_each_of_its_numbers(database: Database, keep: Keep) -> None:
    keep(accession="A2", patient_id="8", placer="P2", filler="F2", control_id="C2")
    wanted = keep(accession="A1", patient_id="7", placer="P1", filler="F1", control_id="C1")
    for term in ("A1", "7", "P1", "F1", "C1", " A1 "):
        assert _ids(database, term=term) == [wanted], term
    assert _ids(database, term="A") == []


def test_a_message_is_found_by_its_further_orders_too(database: Database, keep: Keep) -> None:
    wanted = keep(accession="A1", name_key="doe jane", numbers=("A2", "A3"), name_keys=("山田 太郎",))
    for term in ("A2", "A3", "山田", "Doe"):
        assert _ids(database, term=term) == [wanted], term


def test_a_name_is_found_by_its_beginning_however_it_is_written(database: Database, keep: Keep) -> None:
    wanted = keep(name_key=name_key("Müller^Jürgen"))
    keep(name_key=name_key("Mueller^Jan"))
    keep(name_key=name_key("Núñez^María"))
    for term in ("müller", "MULLER, JURGEN", "Muller^J", "mul"):
        assert _ids(database, term=term) == [wanted], term
    assert len(_ids(database, term="m")) == 2


def test_every_writing_of_a_name_has_its_key() -> None:
    assert name_keys("Yamada^Tarou=山田^太郎=やまだ^たろう") == ("yamada tarou", "山田 太郎", "やまた たろう")
    assert name_keys("") == ()


def test_filters_narrow_what_is_found(database: Database, keep: Keep) -> None:
    held = keep(state=MessageState.HELD, patient_id="7")
    adt = keep(message_type="ADT^A08", patient_id="7")
    other = keep(source="lab", sender="LAB|GH", patient_id="8")
    assert _ids(database) == [other, adt, held]
    assert _ids(database, state=MessageState.HELD) == [held]
    assert _ids(database, message_type="ADT^A08") == [adt]
    assert _ids(database, source="lab") == [other]
    assert _ids(database, sender="LAB|GH") == [other]
    assert _ids(database, term="7", message_type="ADT^A08") == [adt]
    second = NOON + timedelta(minutes=2)
    assert _ids(database, since=second) == [other, adt]
    assert _ids(database, since=second, until=second + timedelta(minutes=1)) == [adt]


def test_pages_follow_one_another_without_a_gap(database: Database, keep: Keep) -> None:
    made = [keep(patient_id="7") for _ in range(5)]
    first = _ids(database, limit=2, term="7")
    second = _ids(database, limit=2, term="7", before=MessageId(first[-1]))
    third = _ids(database, limit=2, term="7", before=MessageId(second[-1]))
    assert [*first, *second, *third] == made[::-1]


WAYS = {
    "accession": Wanted(term="A1"),
    "name": Wanted(term="Doe, Jane"),
    "term and type": Wanted(term="A1", message_type="ORM^O01"),
    "term and time": Wanted(term="A1", since=NOON, until=NOON + timedelta(days=1)),
    "state": Wanted(state=MessageState.HELD),
    "type": Wanted(message_type="ORM^O01"),
    "source": Wanted(source="ris"),
    "sender": Wanted(sender="RIS|GH"),
    "time": Wanted(since=NOON, until=NOON + timedelta(days=1)),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_search_reads_the_whole_table(database: Database, way: str) -> None:
    _fill(database)
    for before in (None, MessageId(3000)):
        plan = _plan(database, search.query(WAYS[way], before=before))
        assert "SEARCH" in plan or "Index" in plan, plan
        for scan in ("SCAN messages", "SCAN message_terms", "Seq Scan"):
            assert scan not in plan, plan


def _fill(database: Database) -> None:
    """Enough messages, most of them alike, for PostgreSQL to prefer an index where it has one."""
    with database.write() as tx:
        number = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) "
        tx.connection.execute(
            text(
                "INSERT INTO messages (protocol, source, received_at, raw, sha256, sender, message_type, state,"
                " answer, control_id, accession, patient_id, placer, filler, name_key) "
                f"{number} SELECT 'hl7v2', 'ris' || i % 90, {_instant(database)}, {_blob(database)}, 'x',"
                " 'RIS|' || i % 90, 'ORM^O' || i % 90, 'mapped', '', 'C' || i, 'A' || i, 'M' || i, 'P' || i,"
                " 'F' || i, 'doe ' || i FROM n"
            )
        )
        tx.connection.execute(
            text(f"INSERT INTO message_terms (term, message_id) {number} SELECT 'B' || i, i FROM n")
        )
    with database.write() as tx:
        tx.connection.execute(text("ANALYZE"))


def _instant(database: Database) -> str:
    start = "2026-01-01 00:00:00"
    if database.dialect == "sqlite":
        return f"strftime('%Y-%m-%d %H:%M:%S.000000', '{start}', '+' || i || ' hours')"
    return f"timestamptz '{start}+00' + i * interval '1 hour'"


def _blob(database: Database) -> str:
    return "randomblob(400)" if database.dialect == "sqlite" else "decode(repeat('6162', 200), 'hex')"


def _plan(database: Database, query: object) -> str:
    with database.read() as tx:
        compiled = query.compile(tx.connection, compile_kwargs={"literal_binds": False})  # type: ignore[attr-defined]
        verb = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
        values = compiled.construct_params()
        processors = compiled._bind_processors
        bound = {k: processors[k](v) if k in processors else v for k, v in values.items()}
        if compiled.positional:
            rows = tx.connection.exec_driver_sql(
                f"{verb} {compiled.string}", tuple(bound[name] for name in compiled.positiontup)
            )
        else:
            rows = tx.connection.exec_driver_sql(f"{verb} {compiled.string}", bound)
        return "\n".join(str(row[-1]) for row in rows)
