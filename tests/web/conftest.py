"""Visitors of every role, an application over the shared ports, studies with pictures."""

import asyncio
import hashlib
import io
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.types import Message

from gateway.flow import complete
from gateway.flow.ports import Ports
from gateway.flow.watch_feeds import Feed, Watcher
from gateway.model.ids import InstanceId, StudyId, Uid
from gateway.model.measurement import Code, Measurement
from gateway.model.order import Order
from gateway.model.study import PictureState, Received
from gateway.model.user import Role
from gateway.store import studies, users
from gateway.web.routes import build

if TYPE_CHECKING:
    pass


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(slots=True)
class Trouble:
    """What `ready` and `warnings` say; tests change it."""

    parts: dict[str, str] = field(default_factory=lambda: {"database": "", "ehr": ""})
    warnings: list[str] = field(default_factory=list)


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def make_app(ports: Ports, trouble: Trouble) -> Callable[..., Starlette]:
    def make(**more: Any) -> Starlette:
        return build(
            ports,
            site_name="General Hospital",
            ready=lambda: trouble.parts,
            warnings=lambda: trouble.warnings,
            complete=lambda study, actor: complete.complete_now(ports, study, lambda *_: (), actor=actor),
            **{"watcher": Watcher(ports, [Feed(name="ris", quiet_after=timedelta(minutes=30))]), **more},
            expected=lambda title, _: {"exam status (MPPS)": "sometimes"} if title == "US1" else {},
        )

    return make


@pytest.fixture
def app(make_app: Callable[..., Starlette]) -> Starlette:
    return make_app()


@pytest.fixture
def token(ports: Ports) -> Callable[[Role], str]:
    """A session of a user with that role; the user is called as the role is."""

    def open_session(role: Role) -> str:
        secret = f"token-{role}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with ports.database.write() as tx:
            user_id = users.add(tx, str(role), role, "no password", ports.clock())
            users.open_session(tx, user_id, digest, ports.clock())
        return secret

    return open_session


@pytest.fixture
def visitor(app: Starlette, token: Callable[[Role], str]) -> Callable[..., httpx.AsyncClient]:
    """A browser's stand-in: with the cookie of a role, or without any."""

    def make(role: Role | None = None, **headers: str) -> httpx.AsyncClient:
        cookies = {"gateway": token(role)} if role else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://gateway.test",
            cookies=cookies,
            headers={"Sec-Fetch-Site": "same-origin", **headers},
        )

    return make


def picture(colour: int = 90, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.new("L", (200, 200), colour).save(written, kind)
    return written.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An image that a machine sent."""

    study: StudyId
    instance: InstanceId
    path: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Stores images as the storage room would."""

    ports: Ports

    def send(self, order: Order | None, *, study_uid: str = "", doubt: str = "", **changed: str) -> Sent:
        """An image of the order's study, not yet examined; without an order, of nobody's."""
        sop = self.ports.new_uid()
        values: dict[str, Any] = {
            "patient_id": order.patient.patient_id if order else "TEMP",
            "patient_name": order.patient.name if order else "Walk^In",
            "birth_date": order.patient.birth_date if order else "",
            "accession": order.accession if order else "",
            **changed,
        }
        uid = Uid(study_uid) if study_uid or order is None else order.study_uid
        received = Received(
            sop_uid=sop,
            sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"),
            series_uid=Uid(f"{uid}.1"),
            study_uid=uid,
            transfer_syntax=Uid("1.2.840.10008.1.2.1"),
            modality="US",
            issuer="",
            sex="F",
            study_id="1",
            study_date="20261123",
            study_time="103000",
            zone_offset="",
            study_description="Abdomen",
            series_number="1",
            series_description="B-mode",
            instance_number="1",
            frames=1,
            calling_ae="US1",
            **values,
        )
        at, path = self.ports.clock(), f"study/{sop}.dcm"
        with self.ports.database.write() as tx:
            study = studies.add(
                tx, received, studies.StoredFile(path=path, size=1234, sha256="0" * 64), None, at
            )
            if order is not None or doubt:
                studies.link(tx, study, order.id if order else None, doubt, at)
            instance = next(i for i, where in studies.unexamined(tx) if where == path)
        return Sent(study=study, instance=instance, path=path)

    def examine(self, sent: Sent, image: bytes | None = None, found: tuple[Measurement, ...] = ()) -> None:
        """The thumbnail and the measurements of the image are there."""
        target = self.ports.files.path(sent.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        thumbnail = self.ports.files.keep_thumbnail(sent.path, picture() if image is None else image)
        with self.ports.database.write() as tx:
            studies.examined(
                tx,
                sent.instance,
                picture=PictureState.READY,
                thumbnail=thumbnail,
                found=found,
                at=self.ports.clock(),
            )


@pytest.fixture
def machine(ports: Ports) -> Machine:
    return Machine(ports)


@pytest.fixture
def jpeg() -> bytes:
    return picture(kind="JPEG")


def measured(name: str, value: str) -> Measurement:
    return Measurement(
        name=Code(value="11820-8", scheme="LN", meaning=name),
        value=value,
        unit=Code(value="mm", scheme="UCUM", meaning="millimeter"),
        context=("Fetal Biometry",),
        path="1.1",
    )


@pytest.fixture
def measurement() -> Callable[[str, str], Measurement]:
    return measured


@dataclass(slots=True)
class Stream:
    """An open event stream, read as a browser reads it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    arrived: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)
    rest: bytes = b""

    async def next(self, within_s: float = 10) -> dict[str, str] | None:
        """The next event's fields, comments and pings left out; None when the stream has ended."""
        while True:
            while b"\r\n\r\n" in self.rest:
                block, _, self.rest = self.rest.partition(b"\r\n\r\n")
                lines = [line.partition(": ") for line in block.decode().splitlines()]
                fields = {name: value for name, _, value in lines if name}
                if "event" in fields:
                    return fields
            chunk = await asyncio.wait_for(self.arrived.get(), within_s)
            if not chunk:
                return None
            self.rest += chunk


OpenStream = Callable[..., AbstractAsyncContextManager[Stream]]


@pytest.fixture
def open_stream(app: Starlette) -> OpenStream:
    @asynccontextmanager
    async def opened(path: str, session: str, **headers: str) -> AsyncIterator[Stream]:
        stream, gone = Stream(), asyncio.Event()
        where, _, query = path.partition("?")
        sent = {"host": "gateway.test", "cookie": f"gateway={session}", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": where,
            "raw_path": where.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("gateway.test", 80),
        }

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                stream.status = message["status"]
                stream.headers = {n.decode(): v.decode() for n, v in message["headers"]}
            elif message.get("body") or not message.get("more_body"):
                stream.arrived.put_nowait(message.get("body", b""))

        task = asyncio.create_task(app(scope, receive, send))
        try:
            yield stream
        finally:
            gone.set()
            await asyncio.wait_for(task, 10)

    return opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The application behind a real HTTP server."""

    port: int

    def at(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def served(app: Starlette) -> Iterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Served(port=listener.getsockname()[1])
    finally:
        app.state.end_streams()
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()
