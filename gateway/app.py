"""The composition root: settings become running services."""

import asyncio
import logging
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import uvicorn
from starlette.applications import Starlette

from gateway.dicom.server import DicomServer
from gateway.fhir import inbound as fhir_inbound
from gateway.fhir.auth import Basic, Bearer, Credential, Header, Source
from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.imaging_study import outgoing
from gateway.flow.complete import complete_now, complete_quiet
from gateway.flow.deliver import deliver_due
from gateway.flow.examine import examine_pending
from gateway.flow.expire import expire_stale
from gateway.flow.ports import Ports
from gateway.hl7 import inbound as hl7_inbound
from gateway.hl7.listener import Listener
from gateway.imaging.worker import PictureWorker
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable
from gateway.mapping.watch import Watch
from gateway.model.delivery import Outgoing
from gateway.model.errors import GatewayError, Invalid, Unavailable
from gateway.model.ids import uid_from_uuid
from gateway.model.lifecycle import State
from gateway.model.message import Message
from gateway.model.order import Order
from gateway.model.station import Station
from gateway.model.study import Study
from gateway.settings import Auth, Settings
from gateway.store.database import Database
from gateway.store.files import Files
from gateway.stored import read_stored
from gateway.web import routes as web

log = logging.getLogger(__name__)

SERVICES = frozenset({"hl7", "http", "dicom", "workers"})
LEAST_FREE_BYTES = 500_000_000
_STOP_S = 15.0


class Gateway:
    """Every service of one configuration. `start` returns when each is open; `close` ends them all."""

    def __init__(self, settings: Settings, *, only: Iterable[str] = SERVICES) -> None:
        """Raises Invalid for a configuration that cannot work."""
        self.settings = settings
        self.only = frozenset(only)
        if unknown := self.only - SERVICES:
            raise Invalid(
                f"--only: unknown service {', '.join(sorted(unknown))}; known are {', '.join(sorted(SERVICES))}"
            )
        self.ports = make_ports(settings)
        self._mappings = Watch(
            settings.mappings.folder,
            {"timezone": settings.site.timezone},
            custom=settings.mappings.transforms,
            is_automatic=settings.mappings.reload == "auto",
            tell=_log_mappings,
        )
        self._clients = Client(_destinations(settings))
        self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(target=self._run_loop, name="edges", daemon=True)
        self._stopping = threading.Event()
        self._workers: list[threading.Thread] = []
        self._listeners: list[Listener] = []
        self._dicom: DicomServer | None = None
        self._site: Starlette | None = None
        self._http: uvicorn.Server | None = None
        self._http_done: Future[None] | None = None
        self._pictures = PictureWorker(
            time_limit_s=settings.pictures.time_limit_seconds,
            max_pixels=int(settings.pictures.max_megapixels * 1_000_000),
        )

    @property
    def modules(self) -> Modules:
        """The mapping modules in use now; readers ask anew for each message."""
        return self._mappings.active

    def start(self) -> None:
        """Every service asked for is open.

        Raises Unavailable or Invalid, with everything closed again, when one cannot be.
        """
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing new is taken, what is in hand is finished, every thread and process has ended."""
        self._stopping.set()
        if self._loop_thread.is_alive():
            self._await(self._close_edges())
            if self._http_done is not None:
                self._http_done.result(_STOP_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(_STOP_S)
        if self._dicom is not None:
            self._dicom.close()
        self._pictures.close()  # what it was at is examined again at the next start
        for worker in self._workers:
            worker.join(_STOP_S)
        self._clients.close()
        self.ports.files.release()
        self.ports.database.close()
        if not self._loop.is_running():
            self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def troubles(self) -> dict[str, str]:
        """Each part that was asked for and what is wrong with it; "" when it is well."""
        found = {"database": _database_trouble(self.ports), "disk": _disk_trouble(self.settings)}
        found["mappings"] = "; ".join(self.modules.faults)
        if "workers" in self.only:
            dead = [worker.name for worker in self._workers if not worker.is_alive()]
            found["workers"] = f"stopped: {', '.join(dead)}" if dead else ""
        return found

    def _start(self) -> None:
        self.ports.database.upgrade()
        for fault in self.modules.faults:
            log.error("mapping.fault", extra={"fault": fault})
        if not self.modules.names:
            raise Invalid(f"mappings.folder: no usable mapping module in {self.settings.mappings.folder}")
        self._loop_thread.start()
        if "dicom" in self.only:
            self._start_dicom()
        if "hl7" in self.only:
            self._await(self._start_listeners())
        if "http" in self.only:
            self._start_http()
        self._start_worker("mappings", 1.0, self._mappings.look)
        if "workers" in self.only:
            self._start_workers()
        log.info("gateway.started", extra={"services": sorted(self.only)})

    def _start_dicom(self) -> None:
        dicom = self.settings.dicom
        self.ports.files.take()
        self._dicom = DicomServer(
            self.ports,
            ae_title=dicom.ae_title,
            bind=dicom.bind,
            worklist_port=dicom.worklist_port,
            storage_port=dicom.storage_port,
            max_associations=dicom.max_associations,
        )
        self._dicom.start()

    async def _start_listeners(self) -> None:
        for name, chosen in self.settings.hl7.listeners.items():
            listener = Listener(
                name=name,
                bind=chosen.bind,
                port=chosen.port,
                receive=hl7_inbound.receiver(
                    self.ports, lambda: self.modules, name, fallback_charset=chosen.fallback_charset
                ),
                max_bytes=chosen.max_megabytes * 1024 * 1024,
                max_connections=chosen.max_connections,
            )
            with _opening(f"hl7.listeners.{name}.port"):
                await listener.start()
            self._listeners.append(listener)

    def _start_http(self) -> None:
        http = self.settings.http
        with _opening("http.port"):
            opened = socket.create_server((http.bind, http.port), backlog=128)
        config = uvicorn.Config(
            self._page(), log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=5,
        )  # fmt: skip
        self._http = uvicorn.Server(config)
        self._http_done = asyncio.run_coroutine_threadsafe(self._http.serve(sockets=[opened]), self._loop)

    def _page(self) -> Starlette:
        more = fhir_inbound.routes(self.ports, lambda: self.modules, _sources(self.settings))
        self._site = web.build(
            self.ports,
            site_name=self.settings.site.name,
            more=more,
            ready=self.troubles,
            complete=lambda study_id, actor: complete_now(self.ports, study_id, self._news, actor=actor),
            warnings=lambda: self.modules.faults,
            secure_cookies=self.settings.http.secure_cookies,
            mappings=self._mappings,
            read=self._read,
        )
        return self._site

    def _read(self, message: Message) -> Readable:
        """A stored message read as its listener does. Raises Malformed."""
        listener = self.settings.hl7.listeners.get(message.source)
        return read_stored(message, fallback=listener.fallback_charset if listener else "cp1252")

    def _news(self, study: Study, orders: tuple[Order, ...]) -> tuple[Outgoing, ...]:
        return outgoing(study, orders, _destinations(self.settings), self.ports.zone)

    def _start_workers(self) -> None:
        jobs: tuple[tuple[str, float, Callable[[], object]], ...] = (
            ("examine", 0.3, lambda: examine_pending(self.ports, self._pictures.examine)),
            ("complete", 0.5, lambda: complete_quiet(self.ports, self._news)),
            ("deliver", 0.5, lambda: deliver_due(self.ports, self._clients.send)),
            ("expire", 300.0, lambda: expire_stale(self.ports)),
        )
        for name, pause_s, job in jobs:
            self._start_worker(name, pause_s, job)

    def _start_worker(self, name: str, pause_s: float, job: Callable[[], object]) -> None:
        worker = threading.Thread(target=self._repeat, args=(name, pause_s, job), name=name, daemon=True)
        worker.start()
        self._workers.append(worker)

    def _repeat(self, name: str, pause_s: float, job: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            try:
                job()
            except GatewayError as error:
                log.warning("worker.trouble", extra={"worker": name, "reason": str(error)})
            except Exception:
                log.exception("worker.failed", extra={"worker": name})
            self._stopping.wait(pause_s)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_STOP_S)

    async def _close_edges(self) -> None:
        for listener in self._listeners:
            await listener.close()
        if self._http is not None and self._site is not None:
            self._site.state.end_streams()
            self._http.should_exit = True


def _log_mappings(found: Modules) -> None:
    """The log says which modules were read and what is wrong with their files."""
    for fault in found.faults:
        log.error("mapping.fault", extra={"fault": fault})
    log.info("mapping.read", extra={"modules": list(found.names)})


@contextmanager
def _opening(key: str) -> Iterator[None]:
    """A port that cannot be opened is said so, with the key that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unavailable(
            f"{key}: the port cannot be opened: {reason}; is the gateway running already?"
        ) from error


def check_setup(settings: Settings) -> dict[str, str]:
    """Each part a working gateway leans on, and what is wrong with it; "" when it is well."""
    ports = make_ports(settings)
    try:
        chosen, site = settings.mappings, {"timezone": settings.site.timezone}
        found = {
            "configuration": "",
            "mappings": "; ".join(Modules.load(chosen.folder, site=site, custom=chosen.transforms).faults),
            "database": _database_trouble(ports),
            "disk": _disk_trouble(settings),
        }
    finally:
        ports.database.close()
    peers = settings.fhir.destinations.items()
    return found | {f"fhir.destinations.{name}": _peer_trouble(peer.url) for name, peer in peers}


def make_ports(settings: Settings) -> Ports:
    """What the verbs need, for a configuration. The database is opened, not yet migrated."""
    return Ports(
        database=Database(settings.store.url),
        files=Files(settings.store.files),
        clock=lambda: datetime.now(UTC),
        new_uid=lambda: uid_from_uuid(uuid.uuid4()),
        zone=ZoneInfo(settings.site.timezone),
        stations=tuple(
            Station(ae_title=s.ae_title, name=s.name or s.ae_title, modality=s.modality)
            for s in settings.stations
        ),
        release=settings.worklist.release,
        listed=frozenset({State.SENT, State.STARTED} if settings.worklist.show_started else {State.SENT}),
        quiet=timedelta(seconds=settings.study.quiet_seconds),
        expire_after=timedelta(days=settings.worklist.expire_after_days),
    )


def addresses() -> tuple[str, ...]:
    """This computer's own IPv4 addresses, the one of the default route first; 127.0.0.1 when it has no other."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only chooses the way
        found.append(probe.getsockname()[0])
    with suppress(OSError):
        found.extend(socket.gethostbyname_ex(socket.gethostname())[2])
    outside = [address for address in dict.fromkeys(found) if not address.startswith(("127.", "0."))]
    return tuple(outside) or ("127.0.0.1",)


def _database_trouble(ports: Ports) -> str:
    try:
        ports.database.is_current()
    except GatewayError as error:
        return str(error)
    return ""


def _peer_trouble(url: str) -> str:
    parts = urlsplit(url)
    try:
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection(address, timeout=5).close()
    except (OSError, ValueError) as error:
        return f"cannot be reached: {error}"
    return ""


def _disk_trouble(settings: Settings) -> str:
    free = shutil.disk_usage(settings.store.files).free
    return f"store.files: only {free // 1_000_000} MB are free" if free < LEAST_FREE_BYTES else ""


def _sources(settings: Settings) -> dict[str, Source]:
    return {
        name: Source(
            name=name, auth=_inbound(source.auth), release=source.release, base_url=source.base_url or ""
        )
        for name, source in settings.fhir.sources.items()
    }


def _inbound(auth: Auth) -> Bearer | Basic | None:
    credential = _credential(auth)
    assert not isinstance(credential, Header)  # the settings refuse it for a source
    return credential


def _destinations(settings: Settings) -> tuple[Destination, ...]:
    return tuple(
        Destination(
            name=name,
            url=one.url,
            release=one.release,
            write=Write(one.write),
            auth=_credential(one.auth),
            sources=_same_server(settings, name, one.url),
        )
        for name, one in settings.fhir.destinations.items()
    )


def _same_server(settings: Settings, name: str, url: str) -> frozenset[str]:
    """The sources on the destination's own server: those with its base URL and, where it gives none, its name."""
    sources = settings.fhir.sources.items()
    return frozenset(
        other for other, one in sources if (one.base_url or (url if other == name else "")) == url
    )


def _credential(auth: Auth) -> Credential | None:
    if auth.bearer is not None:
        return Bearer(token=auth.bearer)
    if auth.basic is not None:
        return Basic(user=auth.basic[0], password=auth.basic[1])
    return Header(name=auth.header[0], value=auth.header[1]) if auth.header is not None else None
