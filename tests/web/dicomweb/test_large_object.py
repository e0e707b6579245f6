"""A large object is streamed: what it takes of memory does not depend on its size."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from gateway.flow.ports import Ports
from gateway.model.order import Order

if TYPE_CHECKING:
    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio

SIZE = 300 * 1024 * 1024
MOST_GROWTH = 100 * 1024 * 1024


def _resident() -> int:
    """Bytes of this process in memory. Source: proc(5), statm."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_an_object_of_300_mb_takes_less_than_100_mb_of_memory(
    ports: Ports, web: Starlette, secret: str, shelf: "Shelf", order_factory: Callable[..., Order]
) -> None:
    order = order_factory()
    shelf.keep(shelf.examine(order)[0])
    (held,) = shelf.held(order.study_uid)
    os.truncate(ports.files.path(held.path), SIZE)  # sparse: it takes no room on the disk
    sent, before, most = 0, _resident(), 0

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        nonlocal sent, most
        if message["type"] == "http.response.body":
            sent += len(message["body"])
            most = max(most, _resident())
        else:
            assert message["status"] == 200

    path = f"/dicom-web/studies/{order.study_uid}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"gateway.test"), (b"authorization", f"Bearer {secret}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("gateway.test", 80),
    }
    await web(scope, receive, send)
    assert SIZE < sent < SIZE + 1024
    assert most - before < MOST_GROWTH
