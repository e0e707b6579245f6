"""How long it takes to find a message among 100 000 by each of the ways a person looks for one."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.search import Found
from gateway.store import inbox, search
from gateway.store.database import Database
from gateway.store.search import Wanted

MESSAGES = 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)
WAYS = {
    "accession": Wanted(term="A77777"),
    "accession of a second order": Wanted(term="B77777"),
    "patient id": Wanted(term="M7777"),
    "control id": Wanted(term="C77777"),
    "name": Wanted(term="Doe77777, Jane"),
    "held": Wanted(state=MessageState.HELD),
    "source and a day": Wanted(source="ris3", since=START, until=START + timedelta(days=1)),
    "nothing": Wanted(term="nobody"),
}


def bench() -> Iterator[str]:
    """A line for each way: the median of twenty searches."""
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder)}/bench.db")
        database.upgrade()
        _fill(database)
        for name, wanted in WAYS.items():
            taken = [_search_s(database, wanted) for _ in range(20)]
            yield f"search: {name}: {median(taken) * 1000:.1f} ms among {MESSAGES} messages"
        database.close()


def _search_s(database: Database, wanted: Wanted) -> float:
    start = time.perf_counter()
    with database.read() as tx:
        search.find(tx, wanted)
    return time.perf_counter() - start


def _fill(database: Database) -> None:
    raw = b"MSH|^~\\&|" + b"x" * 700
    with database.write() as tx:
        for number in range(MESSAGES):
            inbox.add(
                tx,
                Inbound(protocol=Protocol.HL7V2, source=f"ris{number % 5}", peer="10.0.0.1", raw=raw),
                sha256=f"{number:064}",
                at=START + timedelta(minutes=number),
                keys=Keys(control_id=f"C{number}", sender="RIS|GH", message_type="ORM^O01"),
                state=MessageState.HELD if number % 1000 == 0 else MessageState.MAPPED,
                reason="",
                module="orders-hl7@abc",
                found=Found(
                    accession=f"A{number}",
                    patient_id=f"M{number % 20_000}",
                    name_key=f"doe{number} jane",
                    numbers=(f"B{number}",) if number % 3 == 2 else (),
                ),
            )


if __name__ == "__main__":
    for line in bench():
        print(line)
