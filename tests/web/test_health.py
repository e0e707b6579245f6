import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.applications import Starlette

from gateway.flow.ports import Ports
from gateway.flow.watch_feeds import Feed, Limits, Watcher
from gateway.model.delivery import DeliveryState, Outgoing
from gateway.model.lifecycle import State
from gateway.model.message import MessageState
from gateway.model.order import Order, UnknownCode
from gateway.model.user import Role
from gateway.store import codes, inbox, outbox
from gateway.store.database import Database
from tests.conftest import FakeClock

if TYPE_CHECKING:
    from tests.web.conftest import Trouble

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]


async def test_alive_needs_nothing(visitor: Visitor) -> None:
    async with visitor() as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_ready_tells_strangers_that_there_is_trouble_and_people_which(
    visitor: Visitor, trouble: "Trouble"
) -> None:
    async with visitor() as stranger, visitor(Role.VIEWER) as person:
        assert (await stranger.get("/readyz")).json() == {"database": "ok", "ehr": "ok", "warnings": 0}
        assert (await person.get("/readyz")).status_code == 200
        trouble.parts["ehr"] = "no answer from https://ehr.example"
        hidden, told = await stranger.get("/readyz"), await person.get("/readyz")
    assert (hidden.status_code, hidden.json()) == (503, {"database": "ok", "ehr": "trouble", "warnings": 0})
    assert told.json() == {"database": "", "ehr": "no answer from https://ehr.example", "warnings": []}


async def test_a_faulty_mapping_file_is_told_and_the_gateway_stays_ready(
    visitor: Visitor, trouble: "Trouble"
) -> None:
    trouble.warnings.append("orders.yaml:3:1: unknown key")
    async with visitor() as stranger, visitor(Role.VIEWER) as person:
        hidden, told = await stranger.get("/readyz"), await person.get("/readyz")
    assert (hidden.status_code, hidden.json()["warnings"]) == (200, 1)
    assert (told.status_code, told.json()["warnings"]) == (200, ["orders.yaml:3:1: unknown key"])


FIGURE = re.compile(r'[a-z_]+(\{([a-z]+="[^"]*",?)*\})? [-+0-9.e]+|# (HELP|TYPE) .*')


@pytest.fixture
def watched(ports: Ports, make_app: Callable[..., Starlette]) -> Callable[..., Starlette]:
    feed = Feed(name="ris", quiet_after=timedelta(minutes=30))
    return lambda **more: make_app(watcher=Watcher(ports, [feed], Limits(held=0, connects=3)), **more)


def client(
    app: Starlette, session: str = "", *, peer: str = "127.0.0.1", **headers: str
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(peer, 1)),
        base_url="http://gateway.test",
        cookies={"gateway": session} if session else {},
        headers=headers,
    )


async def test_the_health_page_says_that_all_is_well(
    watched: Callable[..., Starlette], order_factory: Callable[..., Order], token: Callable[[Role], str]
) -> None:
    order_factory()
    async with client(watched(), token(Role.RECEPTION)) as reception:
        page = await reception.get("/health")
        dashboard = await reception.get("/")
    assert page.status_code == 200
    assert "All is well" in page.text
    assert 'href="/health"' in dashboard.text


async def test_what_is_to_be_mended_is_not_all_well(
    watched: Callable[..., Starlette],
    order_factory: Callable[..., Order],
    token: Callable[[Role], str],
    trouble: "Trouble",
) -> None:
    order_factory()
    trouble.warnings += ["fhir.sources.ehr: somebody pushes without the right proof", "a clock is wrong"]
    async with client(watched(), token(Role.RECEPTION)) as reception:
        findings = (await reception.get("/health")).text.partition('id="findings"')[2]
    assert "All is well" not in findings
    assert "2 things need attention" in findings
    for words in ("fhir.sources.ehr</span>", "somebody pushes without the right proof", "a clock is wrong"):
        assert words in findings


async def test_the_health_page_says_what_is_wrong_and_what_to_do(
    watched: Callable[..., Starlette],
    ports: Ports,
    clock: FakeClock,
    order_factory: Callable[..., Order],
    token: Callable[[Role], str],
    trouble: "Trouble",
) -> None:
    order = order_factory(state=State.SENT)
    trouble.parts["disk"] = "store.files: only 12 MB are free"
    with ports.database.write() as tx:
        inbox.settle(tx, order.message_id, MessageState.HELD, "a doubt", clock())
        codes.sighted(tx, "ris", [UnknownCode(table="modality", code="XRX")], clock())
        news = Outgoing(destination="ehr", kind="study", key="1", order_id=order.id, payload=b"{}")
        outbox.add(tx, news, clock())
        claimed = next(iter(outbox.claim(tx, clock(), timedelta(minutes=2))), None)
        assert claimed is not None
        outbox.settle(tx, claimed, DeliveryState.DEAD, at=clock(), error="no")
    for _ in range(4):
        ports.tally.count("connections", "ris")
    clock.advance(seconds=2 * 3600)
    async with (
        client(watched(), token(Role.RECEPTION)) as person,
        client(watched(), token(Role.ADMIN)) as admin,
    ):
        page, full = (await person.get("/health")).text, (await admin.get("/health")).text
    for words in (
        "silent for 2 h of business hours",
        "connected 4 times in 10 minutes",
        "1 delivery was refused for good",
        "1 message waits for a person",
        "The table modality does not know XRX",
        "only 12 MB are free",
        "Make room or add a larger disk",
    ):
        assert words in page
    assert "/deliveries?state=dead" in full
    assert "/deliveries?state=dead" not in page
    assert order.patient.patient_id not in full


async def test_the_figures_can_be_read_by_a_monitoring_system(
    watched: Callable[..., Starlette], ports: Ports, clock: FakeClock, order_factory: Callable[..., Order]
) -> None:
    order = order_factory()
    ports.tally.count("messages", "ris", "mapped")
    ports.tally.count("acknowledgements", "ris", "AA")
    ports.tally.took("message", 0.004, "ris")
    clock.advance(seconds=31 * 60)
    async with client(watched()) as monitor:
        answer = await monitor.get("/metrics")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain")
    assert [line for line in lines if not FIGURE.fullmatch(line)] == []
    assert 'gateway_messages_total{source="ris",state="mapped"} 1.0' in lines
    assert 'gateway_acknowledgements_total{code="AA",source="ris"} 1.0' in lines
    assert 'gateway_message_seconds_bucket{le="0.005",source="ris"} 1.0' in lines
    assert 'gateway_message_seconds_count{source="ris"} 1.0' in lines
    assert 'gateway_feed_quiet{listener="ris"} 1.0' in lines
    assert 'gateway_part_trouble{part="database"} 0.0' in lines
    assert "gateway_worklist_orders 1.0" in lines
    for secret in (order.patient.patient_id, order.accession, order.patient.name):
        assert secret not in answer.text


@pytest.mark.parametrize(
    ("setting", "peer", "headers", "status"),
    [
        ("", "127.0.0.1", {}, 200),
        ("", "10.0.0.9", {}, 403),
        ("", "127.0.0.1", {"x-forwarded-for": "10.0.0.9"}, 403),
        ("s3cret", "10.0.0.9", {"authorization": "Bearer s3cret"}, 200),
        ("s3cret", "10.0.0.9", {"authorization": "Bearer wrong"}, 403),
        ("s3cret", "127.0.0.1", {}, 403),
    ],
)
async def test_the_figures_are_for_who_has_the_token_or_sits_here(
    watched: Callable[..., Starlette], setting: str, peer: str, headers: dict[str, str], status: int
) -> None:
    async with client(watched(metrics_token=setting), peer=peer, **headers) as monitor:
        answer = await monitor.get("/metrics")
    assert answer.status_code == status
    assert ("gateway_worklist_orders" in answer.text) == (status == 200)


async def test_the_figures_of_the_parts_are_there_while_the_store_is_not(
    ports: Ports, make_app: Callable[..., Starlette], trouble: "Trouble", tmp_path: Path
) -> None:
    empty = replace(ports, database=Database(f"sqlite:///{tmp_path}/empty.db"))
    trouble.parts["database"] = "no such table"
    async with client(make_app(watcher=Watcher(empty, []))) as monitor:
        answer = await monitor.get("/metrics")
    empty.database.close()
    assert 'gateway_part_trouble{part="database"} 1.0' in answer.text
    assert "gateway_worklist_orders" not in answer.text
