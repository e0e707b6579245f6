"""The verbs are tested on SQLite and on a real PostgreSQL."""

from dataclasses import dataclass, field
from itertools import count

import pytest

from gateway.flow.ports import Ports
from gateway.flow.receive import Answered, receive
from gateway.mapping.registry import Modules
from gateway.model.er7 import read_er7
from gateway.model.message import Inbound, Interpretation, Keys, Protocol
from gateway.model.order import Order
from gateway.store import audit, inbox, orders
from gateway.store.database import Database


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@dataclass(slots=True)
class Feed:
    """A sender whose messages, as texts, go the whole way through the shipped mapping to the orders."""

    ports: Ports
    modules: Modules
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def send(self, kind: str, *segments: str, sent_at: str = "", source: str = "ris") -> Answered:
        """A message of that kind ("ORM^O01"), the segments after MSH given; every one has a control id of its own."""
        number = next(self.numbers)
        head = f"MSH|^~\\&|RIS|GENHOSP|GW|RAD|{sent_at}||{kind}|M{number}|P|2.5.1"
        text = "\r".join((head, *segments)) + "\r"
        inbound = Inbound(protocol=Protocol.HL7V2, source=source, peer="", raw=text.encode())
        keys = Keys(control_id=f"M{number}", sender="RIS|GENHOSP", message_type=kind, sent_at=sent_at)
        mapped = self.modules.map_hl7(read_er7(text))
        return receive(
            self.ports,
            inbound,
            lambda _: Interpretation(keys=keys, mapped=mapped),
            lambda it: str(it.state).encode(),
        )

    def orders(self) -> tuple[Order, ...]:
        """Every order, oldest first."""
        with self.ports.database.read() as tx:
            return tuple(reversed(orders.newest(tx)))

    def reason(self, answered: Answered) -> str:
        """Why the message was held or passed over."""
        with self.ports.database.read() as tx:
            return inbox.show(tx, answered.message_id).reason

    def deeds(self, subject: str) -> list[str]:
        """What the audit trail says was done to a thing."""
        with self.ports.database.read() as tx:
            return [event.action for event in audit.of_subject(tx, subject)]


@pytest.fixture
def feed(ports: Ports, modules: Modules) -> Feed:
    return Feed(ports, modules)
