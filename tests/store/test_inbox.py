"""Who the sender's messages are: edited copies are ours, and count for none of them."""

from datetime import UTC, datetime, timedelta

from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.search import Found
from gateway.store import inbox
from gateway.store.database import Database
from gateway.store.figures import last_message

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEYS = Keys(control_id="C1", sender="RIS|GH")


def _keep(
    database: Database, *, minute: int, keys: Keys = KEYS, edited_from: MessageId | None = None
) -> MessageId:
    with database.write() as tx:
        return inbox.add(
            tx,
            Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"MSH|"),
            sha256=f"{minute:064}",
            at=NOON + timedelta(minutes=minute),
            keys=keys,
            state=MessageState.HELD,
            reason="",
            module="",
            found=Found(),
            edited_from=edited_from,
        )


def test_an_edited_copy_is_no_earlier_message_of_the_sender(database: Database) -> None:
    original = _keep(database, minute=1)
    _keep(database, minute=2, edited_from=original)
    other = Keys(control_id="C2", sender="RIS|GH")
    _keep(database, minute=3, keys=other, edited_from=original)
    with database.read() as tx:
        assert inbox.twin(tx, "ris", KEYS, f"{2:064}") is None
        found = inbox.twin(tx, "ris", KEYS, f"{1:064}"), inbox.namesake(tx, "ris", KEYS)
        assert [one and one.id for one in found] == [original, original]
        assert inbox.has_control_id(tx, "ris", KEYS)
        assert not inbox.has_control_id(tx, "ris", other)


def test_a_feed_is_as_silent_after_an_edit_as_before(database: Database) -> None:
    original = _keep(database, minute=1)
    _keep(database, minute=90, edited_from=original)
    with database.read() as tx:
        assert last_message(tx, "ris") == NOON + timedelta(minutes=1)
        assert last_message(tx, "other") is None
