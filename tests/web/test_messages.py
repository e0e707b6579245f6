from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from starlette.applications import Starlette

from gateway.flow.ports import Ports
from gateway.flow.replay import Rework
from gateway.model.delivery import DeliveryState, Outgoing
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Interpretation, Keys, Message, MessageState, Protocol
from gateway.model.order import Action, Fault, Mapped, ModuleRef, OrderRequest, Severity
from gateway.model.search import Found
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
    found: Found = Found(),  # noqa: B008
    warnings: tuple[str, ...] = (),
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
            found=found,
            warnings=warnings,
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
        claimed = next(iter(outbox.claim(tx, ports.clock(), timedelta(seconds=30))), None)
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


def interpreted(message: Message | Inbound) -> Interpretation:
    """A mapping that makes an order of a message that has an OBR, and holds one of a message without."""
    module = ModuleRef(name="orders", version="2")
    has_order = b"OBR" in message.raw
    fault = Fault(severity=Severity.HOLD, keyword="", place=None, code="101", text="no OBR", at="m.yaml:1")
    request = OrderRequest(
        action=Action.SCHEDULE,
        attributes={"PatientID": "7", "PatientName": "Müller^Jürgen", "AccessionNumber": "A1"},
        provenance=(),
        faults=() if has_order else (fault,),
        module=module,
    )
    mapped = Mapped(requests=(request,), skipped=(), module=module)
    return Interpretation(keys=Keys(control_id="C1"), mapped=mapped)


REWORK = Rework(
    interpret=interpreted,
    text=lambda message: message.raw.decode("latin-1").replace("\r", "\n"),
    encode=lambda message, text: text.replace("\r\n", "\r").encode("latin-1"),
)


@pytest.fixture
def app(make_app: Callable[..., Starlette]) -> Starlette:
    return make_app(rework=REWORK)


def _states(ports: Ports) -> list[str]:
    with ports.database.read() as tx:
        return [message.state for message in reversed(inbox.newest(tx))]


async def test_the_queues_of_what_waits_are_counted(ports: Ports, visitor: Visitor) -> None:
    keep(ports, 1, state=MessageState.HELD)
    keep(ports, 2, state=MessageState.HELD)
    keep(ports, 3, state=MessageState.MAPPED)
    async with visitor(Role.TECHNOLOGIST) as client:
        page = (await client.get("/messages?state=held")).text
    assert 'href="/messages?state=held" aria-current="page">Held <b class="num">2</b>' in page
    assert 'id="message-3"' not in page


async def test_a_search_goes_by_post_and_pages_on(ports: Ports, visitor: Visitor) -> None:
    found = Found(accession="A1", name_key="muller jurgen", numbers=("A2",))
    for number in range(101):
        keep(ports, number, found=found)
    keep(ports, 200)
    async with visitor(Role.ADMIN) as client:
        for term in ("A1", "A2", "müller, j"):
            page = (await client.post("/messages", data={"term": term})).text
            assert ("The newest 100 messages found." in page, 'id="message-102"' in page) == (True, False)
            assert 'name="before" value="2"' in page
            assert f'name="term" value="{term}"' in page
        second = (await client.post("/messages", data={"term": "A1", "before": "2"})).text
        assert "1 message found." in second
        assert 'id="message-1"' in second
        none = (await client.post("/messages", data={"term": "A1", "type": "ADT^A08"})).text
        assert "Nothing found." in none
        today = {"first": "2026-11-23", "last": "2026-11-23", "source": "ris"}
        assert 'id="message-102"' in (await client.post("/messages", data=today)).text
        wrong = await client.post("/messages", data={"first": "soon"})
        elsewhere = await client.post(
            "/messages", data={"term": "A1"}, headers={"Sec-Fetch-Site": "cross-site"}
        )
    assert (wrong.status_code, elsewhere.status_code) == (422, 403)


async def test_a_held_message_is_tried_again_by_who_may(ports: Ports, visitor: Visitor) -> None:
    kept = keep(ports, 1, state=MessageState.HELD, reason="m.yaml:1: no OBR", raw=b"MSH|\rOBR|1\r")
    async with visitor(Role.TECHNOLOGIST) as reader, visitor(Role.ADMIN) as admin:
        assert "/retry" not in (await reader.get(f"/messages/{kept}")).text
        assert (await reader.post(f"/messages/{kept}/retry")).status_code == 403
        assert f'action="/messages/{kept}/retry"' in (await admin.get(f"/messages/{kept}")).text
        answer = await admin.post(f"/messages/{kept}/retry")
        assert answer.headers["location"] == f"/messages/{kept}"
        page = (await admin.get(f"/messages/{kept}")).text
    assert "The message was tried again" in page
    assert "held: m.yaml:1: no OBR -&gt; mapped" in page
    assert "MSA|AE|C1" in page
    assert _states(ports) == ["mapped"]


async def test_an_edited_copy_is_tried_and_the_original_kept(ports: Ports, visitor: Visitor) -> None:
    kept = keep(ports, 1, state=MessageState.HELD, reason="no OBR")
    async with visitor(Role.ADMIN) as admin:
        form = (await admin.get(f"/messages/{kept}/edit")).text
        assert ">\nMSH|^~\\&amp;|RIS|GH\nPID|1||7||Müller^&lt;Jürgen&gt;\n</textarea>" in form
        assert "is kept as it came" in form
        text = "MSH|^~\\&|RIS|GH\r\nPID|1||7||Müller^Jürgen\r\nOBR|1\r\n"
        missing = await admin.post(f"/messages/{kept}/edit", data={"text": text, "reason": " "})
        assert missing.status_code == 422
        answer = await admin.post(f"/messages/{kept}/edit", data={"text": text, "reason": "name"})
        copy = answer.headers["location"]
        page = (await admin.get(copy)).text
        old = (await admin.get(f"/messages/{kept}")).text
        assert (await admin.get(f"/messages/{kept}/edit")).status_code == 409
    assert f'An edited copy of <a href="/messages/{kept}">' in page
    assert f'Edited as <a href="{copy}">' in old
    assert _states(ports) == ["superseded", "mapped"]
    with ports.database.read() as tx:
        assert inbox.show(tx, kept).raw == RAW


async def test_a_message_is_discarded_with_a_reason(ports: Ports, visitor: Visitor) -> None:
    kept = keep(ports, 1, state=MessageState.HELD)
    async with visitor(Role.ADMIN) as admin:
        await admin.post(f"/messages/{kept}/retry")
        page = (await admin.get(f"/messages/{kept}")).text
        assert 'What it made stays held: <a href="/orders/1">order 1</a>' in page
        assert (await admin.post(f"/messages/{kept}/discard", data={})).status_code == 422
        await admin.post(f"/messages/{kept}/discard", data={"reason": "a test"})
        page = (await admin.get(f"/messages/{kept}")).text
        assert (await admin.post(f"/messages/{kept}/discard", data={"reason": "x"})).status_code == 409
    assert "a test (was held, by orders@2: m.yaml:1: no OBR)" in page
    assert _states(ports) == ["discarded"]


async def test_what_was_odd_about_a_message_stands_on_its_page(ports: Ports, visitor: Visitor) -> None:
    kept = keep(ports, 1, warnings=("MSH-18 (character set): absent; read as cp1252",))
    async with visitor(Role.ADMIN) as client:
        page = (await client.get(f"/messages/{kept}")).text
    assert "<li>MSH-18 (character set): absent; read as cp1252</li>" in page
