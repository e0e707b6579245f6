from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from gateway.flow.ports import Ports
from gateway.model.delivery import DeliveryState, Outgoing
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.user import Role
from gateway.store import audit, inbox, outbox

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]

RAW = "MSH|^~\\&|RIS|GH\rPID|1||7||Müller^<Jürgen>\r".encode("latin-1")


def keep(
    ports: Ports,
    number: int,
    *,
    state: MessageState = MessageState.FAILED,
    reason: str = "",
    raw: bytes = RAW,
) -> MessageId:
    with ports.database.write() as tx:
        inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="10.0.0.7", raw=raw)
        keys = Keys(control_id=f"C{number}", message_type="ORM^O01")
        kept = inbox.add(
            tx,
            inbound,
            sha256=f"{number:064}",
            at=ports.clock(),
            keys=keys,
            state=state,
            reason=reason,
            module="",
            found=inbox.Found(),
        )
        inbox.answer(tx, kept, b"MSH|^~\\&|GW\rMSA|AE|C1\r")
        return kept


async def test_messages_are_listed_with_state_and_reason(ports: Ports, visitor: Visitor) -> None:
    keep(ports, 1, reason="patient id (PID-3): absent")
    keep(ports, 2, state=MessageState.MAPPED)
    async with visitor(Role.TECHNOLOGIST) as client:
        page = (await client.get("/messages")).text
        failed = (await client.get("/messages?state=failed")).text
        wrong = [await client.get(f"/messages?{query}") for query in ("state=odd", "before=x")]
    assert page.index('id="message-2"') < page.index('id="message-1"')
    assert "patient id (PID-3): absent" in page
    assert 'id="message-2"' not in failed
    assert [answer.status_code for answer in wrong] == [422, 422]


async def test_older_messages_are_a_page_away(ports: Ports, visitor: Visitor) -> None:
    for number in range(102):
        keep(ports, number)
    async with visitor(Role.ADMIN) as client:
        first = (await client.get("/messages")).text
        assert 'href="/messages?before=3"' in first
        second = (await client.get("/messages?before=3")).text
    assert ('id="message-3"' in first, 'id="message-2"' in first) == (True, False)
    assert ('id="message-2"' in second, "Older messages" in second) == (True, False)


async def test_a_message_is_shown_line_by_line_with_our_answer(ports: Ports, visitor: Visitor) -> None:
    kept = keep(ports, 1)
    async with visitor(Role.ADMIN) as client:
        page = (await client.get(f"/messages/{kept}")).text
    assert "<li><code>MSH|^~\\&amp;|RIS|GH</code></li>" in page
    assert "<li><code>PID|1||7||Müller^&lt;Jürgen&gt;</code></li>" in page
    assert "<li><code>MSA|AE|C1</code></li>" in page
    with ports.database.read() as tx:
        assert [e.action for e in audit.of_subject(tx, f"message:{kept}")] == ["message.view"]


async def test_a_dead_delivery_is_tried_again_by_an_administrator_only(
    ports: Ports, visitor: Visitor
) -> None:
    with ports.database.write() as tx:
        news = Outgoing(destination="ehr", kind="ImagingStudy", key="1", order_id=None, payload=b"{}")
        delivery = outbox.add(tx, news, ports.clock())
        claimed = outbox.claim(tx, ports.clock(), timedelta(seconds=30))
        assert claimed is not None
        outbox.settle(tx, claimed, DeliveryState.DEAD, at=ports.clock(), error="422 <not> understood")
    async with visitor(Role.TECHNOLOGIST) as reader, visitor(Role.ADMIN) as admin:
        assert "/retry" not in (await reader.get("/deliveries")).text
        page = (await admin.get("/deliveries?state=dead")).text
        assert "422 &lt;not&gt; understood" in page
        answer = await admin.post(f"/deliveries/{delivery}/retry")
        assert answer.headers["location"] == "/deliveries"
        assert "The delivery is on its way again." in (await admin.get("/deliveries")).text
        assert (await admin.get("/deliveries?state=odd")).status_code == 422
    with ports.database.read() as tx:
        assert outbox.show(tx, delivery).state is DeliveryState.PENDING
