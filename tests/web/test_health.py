from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.model.user import Role

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
