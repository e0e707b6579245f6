"""The composition root: settings become running services."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette

from gateway.assembly import (
    dicom_access,
    dicom_places,
    dicom_tls,
    dicomweb_routes,
    feeds,
    hl7_access,
    hl7_contexts,
    hl7_doors,
    hl7_rules,
    http_contexts,
    limits,
    rework,
    worklist_rules,
)
from gateway.checks import database_trouble, disk_trouble
from gateway.destinations import fhir_destinations, hl7_destinations
from gateway.dicom.server import DicomServer
from gateway.fhir import inbound as fhir_inbound
from gateway.fhir import jwks
from gateway.fhir.admission import Door
from gateway.fhir.client import Client
from gateway.fhir.lookout import LOOK_S as LOOKOUT_S
from gateway.fhir.lookout import Lookout
from gateway.fhir.news import renderer
from gateway.fhir.reading_back import ReadingBack
from gateway.fhir.registrar import LOOK_S as SUBSCRIPTIONS_S
from gateway.fhir.registrar import Watcher as Registered
from gateway.fhir_assembly import (
    fhir_sources,
    reading_back,
    registrars,
    rhythms,
    signing_keys,
)
from gateway.flow.commit import report_due
from gateway.flow.complete import complete_now, complete_quiet
from gateway.flow.deliver import LEASE, deliver_due
from gateway.flow.errand import forget_done, run_due
from gateway.flow.examine import examine_pending
from gateway.flow.expire import expire_stale
from gateway.flow.follow import Follower
from gateway.flow.seen import forget
from gateway.flow.settle import settle_received
from gateway.flow.watch_feeds import LOOK_S, Watcher
from gateway.hl7 import over_http
from gateway.hl7.client import Client as Lines
from gateway.hl7.inbound import receiver
from gateway.hl7.listener import Listener
from gateway.http_port import make_server, open_port
from gateway.imaging.worker import PictureWorker
from gateway.loop import run_until_stopped
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable
from gateway.mapping.watch import Watch
from gateway.model.errors import Invalid, Unavailable
from gateway.model.message import Message
from gateway.own_certificates import Endings, check_certificates
from gateway.ports_assembly import make_ports
from gateway.settings import Settings
from gateway.stored import read_stored
from gateway.web import routes as web
from gateway.workers import Workers

log = logging.getLogger(__name__)

SERVICES = frozenset({"hl7", "http", "dicom", "workers"})
_STOP_S = 15.0
_LOOK_AGAIN_S = 0.5
_KEPT_ERRANDS = timedelta(days=14)


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
        check_certificates(settings, self.only)
        self.ports = make_ports(settings)
        self._mappings = Watch(
            settings.mappings.folder,
            {"timezone": settings.site.timezone},
            custom=settings.mappings.transforms,
            is_automatic=settings.mappings.reload == "auto",
            tell=_log_mappings,
        )
        self._worklist = worklist_rules(settings)
        self._fhir = fhir_destinations(settings)
        self._news = renderer(self._fhir, self.ports.zone)
        self._clients = Client(self._fhir, self.ports)
        self._readers = reading_back(settings, self.ports, lambda: self.modules)
        self._subscriptions = Registered(
            registrars(settings, clock=self.ports.clock, new_id=self.ports.new_uid)
        )
        self._door = Door(self.ports)
        self._endings = Endings(settings, self.ports.clock)
        self._follower = Follower(self.ports, rhythms(settings))
        self._lookout = Lookout(self._fhir, self._clients)
        self._told = hl7_destinations(settings)
        self._lines = Lines(self._told)
        self._watcher = Watcher(self.ports, feeds(settings), limits(settings))
        self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(
            target=run_until_stopped, args=(self._loop,), name="edges", daemon=True
        )
        self._rework = rework(settings, lambda: self.modules, self.ports.database)
        self._arrived = threading.Event()  # a message was kept that waits to be mapped
        self._workers = Workers()
        self._listeners: list[Listener] = []
        self._inlets = {
            name: receiver(self.ports, lambda: self.modules, name, hl7_rules(chosen), self._arrived.set)
            for name, chosen in settings.hl7.listeners.items()
        }
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
        with ExitStack() as undo:
            undo.callback(self.close)
            self._start()
            undo.pop_all()

    def close(self) -> None:
        """Nothing new is taken, what is in hand is finished, every thread and process has ended."""
        self._workers.stop()
        self._arrived.set()
        if self._loop_thread.is_alive():
            self._await(self._close_edges())
            if self._http_done is not None:
                self._http_done.result(_STOP_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(_STOP_S)
        if self._dicom is not None:
            self._dicom.close()
        self._lines.close()  # nobody waits for an answer any more
        self._pictures.close()  # what it was at is examined again at the next start
        self._workers.join()
        self._clients.close()
        self._subscriptions.close()
        for reader, _ in self._readers.values():
            reader.close()
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
        found = {"database": database_trouble(self.ports), "disk": disk_trouble(self.settings)}
        found["mappings"] = "" if self.modules.names else "no mapping module is in use"
        if "workers" in self.only:
            dead = ", ".join(self._workers.dead)
            found["workers"] = f"stopped: {dead}" if dead else ""
        return found

    def _start(self) -> None:
        self.ports.database.upgrade()
        for fault in (*self.modules.faults, *self._worklist.machines.faults):
            log.error("mapping.fault", extra={"fault": fault})
        if not self.modules.names:
            raise Invalid(f"mappings.folder: no usable mapping module in {self.settings.mappings.folder}")
        self._loop_thread.start()
        settle_received(self.ports, self._rework.interpret)  # before anything newer comes in
        if "dicom" in self.only:
            self._start_dicom()
        if "hl7" in self.only:
            self._await(self._start_listeners())
        if "http" in self.only:
            self._start_http()
        self._workers.start("mappings", 1.0, self._mappings.look)
        self._workers.start("watch", LOOK_S, self._watcher.look)
        self._workers.start("machines", 1.0, self._look_at_machines)
        if "workers" in self.only:
            self._start_workers()
        log.info("gateway.started", extra={"services": sorted(self.only)})

    def _look_at_machines(self) -> None:
        machines = self._worklist.machines
        if machines.look():
            for fault in machines.faults:
                log.error("mapping.fault", extra={"fault": fault})
            log.info("machines.read", extra={"profiles": [profile.name for profile in machines.profiles]})

    def _start_dicom(self) -> None:
        dicom = self.settings.dicom
        self.ports.files.take()
        self._dicom = DicomServer(
            self.ports,
            ae_title=dicom.ae_title,
            bind=dicom.bind,
            worklist_port=dicom.worklist_port,
            storage_port=dicom.storage_port,
            access=dicom_access(self.settings, self.ports.clock, self.ports.tally),
            tls=dicom_tls(self.settings),
            places=dicom_places(self.settings),
            rules=self._worklist,
        )
        self._dicom.start()
        tell = self._dicom.tell
        self._workers.start("commit", 0.5, lambda: report_due(self.ports, tell))

    async def _start_listeners(self) -> None:
        for name, chosen in self.settings.hl7.listeners.items():
            listener = Listener(
                name=name,
                bind=chosen.bind,
                port=chosen.port,
                receive=self._inlets[name],
                database=self.ports.database,
                max_bytes=chosen.max_megabytes * 1024 * 1024,
                max_connections=chosen.max_connections,
                frame_timeout_s=chosen.frame_timeout_seconds,
                access=hl7_access(chosen),
                contexts=hl7_contexts(name, chosen),
                connected=partial(self.ports.tally.count, "connections", name),
            )
            with _opening(f"hl7.listeners.{name}.port"):
                await listener.start()
            self._listeners.append(listener)

    def _start_http(self) -> None:
        http = self.settings.http
        contexts = http_contexts(self.settings)
        with _opening("http.port"):
            opened = open_port(http.bind, http.port)
        self._http = make_server(self._page(), contexts)
        self._http_done = asyncio.run_coroutine_threadsafe(self._http.serve(sockets=[opened]), self._loop)

    def _page(self) -> Starlette:
        more = [
            *fhir_inbound.routes(
                self.ports,
                lambda: self.modules,
                fhir_sources(self.settings, self.ports.clock),
                door=self._door,
            ),
            *jwks.routes(signing_keys(self.settings)),
            *over_http.routes(hl7_doors(self.settings, self._inlets), self.ports.clock),
            *dicomweb_routes(self.settings, self.ports),
        ]
        self._site = web.build(
            self.ports,
            site_name=self.settings.site.name,
            more=more,
            ready=self.troubles,
            complete=lambda study_id, actor: complete_now(self.ports, study_id, self._news, actor=actor),
            warnings=lambda: (
                *self.modules.faults,
                *self._worklist.machines.faults,
                *self._lookout.warnings,
                *self._follower.warnings,
                *self._door.warnings,
                *self._subscriptions.warnings,
                *self._endings.warnings,
            ),
            secure_cookies=self.settings.http.is_secure,
            mappings=self._mappings,
            read=self._read,
            rework=self._rework,
            watcher=self._watcher,
            metrics_token=self.settings.watch.metrics_token,
            expected=lambda title, uid: self._worklist.machines.choose(title, uid).expectations,
        )
        return self._site

    def _read(self, message: Message) -> Readable:
        """A stored message read as its listener does. Raises Malformed."""
        listener = self.settings.hl7.listeners.get(message.source)
        return read_stored(message, fallback=listener.fallback_charset if listener else "cp1252")

    def _settle(self) -> None:
        """What was kept is mapped, as soon as it is there; what another process kept a little later."""
        self._arrived.wait(_LOOK_AGAIN_S)
        self._arrived.clear()
        settle_received(self.ports, self._rework.interpret)

    def _start_workers(self) -> None:
        jobs: tuple[tuple[str, float, Callable[[], object]], ...] = (
            ("examine", 0.3, lambda: examine_pending(self.ports, self._pictures.examine)),
            ("complete", 0.5, lambda: complete_quiet(self.ports, self._news)),
            ("settle", 0.0, self._settle),
            ("expire", 300.0, self._expire),
            ("lookout", LOOKOUT_S, self._lookout.look),
            ("follow", 5.0, self._follower.look),
            ("subscriptions", SUBSCRIPTIONS_S, self._subscriptions.look),
        )
        self._follower.start()
        for name, pause_s, job in jobs:
            self._workers.start(name, pause_s, job)
        self._start_deliveries()
        for source, (reader, patience) in self._readers.items():
            self._workers.start(f"read {source}", 0.5, partial(self._read_back, source, reader, patience))

    def _read_back(self, source: str, reader: ReadingBack, patience: timedelta) -> None:
        if run_due(self.ports, source, reader, patience=patience):
            self._arrived.set()

    def _start_deliveries(self) -> None:
        """A worker for each destination, so that none waits for another, and one for those that are no more."""
        sends = {one.name: (self._clients.send, one.lease, one.in_flight) for one in self._fhir}
        sends |= {one.name: (self._lines.send, max(LEASE, one.longest_send), 1) for one in self._told}
        for name, (send, lease, at_once) in sends.items():
            serve = partial(deliver_due, self.ports, send, to=name, lease=lease, at_once=at_once)
            self._workers.start(f"deliver {name}", 0.5, partial(serve, is_stopping=self._workers.is_stopping))
        rest = partial(deliver_due, self.ports, self._clients.send, apart_from=tuple(sends))
        self._workers.start("deliver", 5.0, rest)

    def _expire(self) -> None:
        expire_stale(self.ports)
        forget_done(self.ports, _KEPT_ERRANDS)
        forget(self.ports, timedelta(days=self.settings.worklist.keep_receipts_days))

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
