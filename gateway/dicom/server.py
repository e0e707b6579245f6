"""The DICOM listener: one application entity on its ports, every service on each of them."""

import gc
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydicom import config as pydicom_config
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, evt, sop_class
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import BasicWorklistManagementServiceClass
from pynetdicom.transport import ThreadedAssociationServer

from gateway.dicom import mpps, status
from gateway.dicom.access import Access, Admission, Refusal
from gateway.dicom.answering import MODALITY_WORKLIST, WorklistProvider, offer
from gateway.dicom.commitment import COMMITMENT, Place, Reporter, act
from gateway.dicom.incoming import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, Intake
from gateway.dicom.limits import MAX_PDU, Limits
from gateway.dicom.negotiation import VERIFICATION, Gate, storage_levels
from gateway.dicom.notebook import Notebook
from gateway.dicom.storage import store
from gateway.dicom.wire import Wire, watch
from gateway.dicom.worklist import Rules, find
from gateway.flow.ports import Ports
from gateway.flow.seen import record
from gateway.model.commitment import Report
from gateway.model.errors import Unavailable

log = logging.getLogger(__name__)


SERVICES: Final = frozenset({VERIFICATION, MODALITY_WORKLIST, mpps.PERFORMED_STEP, COMMITMENT})
_WORKLIST_KEYWORD = UID(MODALITY_WORKLIST).keyword
_ACSE_TIMEOUT_S = 30
_TLS_TIMEOUT_S = 10
_DIMSE_TIMEOUT_S = 60
_NETWORK_TIMEOUT_S = 300  # machines keep an association open between two images
_POLL_S = 0.05  # how long `close` waits for a listener to notice
_COLLECT_S = 30
_JOIN_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """One more port, for TLS only. `context` gives a ready one for each connection: certificates change."""

    port: int
    context: Callable[[], ssl.SSLContext]


class DicomServer:
    """Verification, worklist and storage on two ports (one, when they are the same)."""

    def __init__(
        self,
        ports: Ports,
        *,
        ae_title: str,
        bind: str,
        worklist_port: int,
        storage_port: int,
        access: Access | None = None,
        tls: Tls | None = None,
        places: Mapping[str, Place] | None = None,
        rules: Rules | None = None,
    ) -> None:
        """Port 0 means any free one. Nothing listens before `start`.

        `places` is where machines that asked for storage commitment are told, by their AE titles.
        """
        self.access = access or Access(Admission(), Limits(), ports.clock)
        self._tls = tls
        self._bind = bind
        self._asked = (worklist_port, storage_port)
        self._listeners: list[_Listener] = []
        self._threads: list[threading.Thread] = []
        self._notebook = Notebook(partial(record, ports))
        rules = rules or Rules()
        self._handlers: list[Any] = [
            (evt.EVT_REQUESTED, offer, [rules.machines]),
            (evt.EVT_CONN_OPEN, _opened, [ports, self.access]),
            (evt.EVT_CONN_CLOSE, _closed),
            (evt.EVT_C_ECHO, lambda event: status.SUCCESS),
            (evt.EVT_C_FIND, find, [ports, rules, self._notebook.note]),
            (evt.EVT_C_STORE, store, [ports, self.access]),
            (evt.EVT_N_ACTION, act, [ports]),
            (evt.EVT_SOP_EXTENDED, storage_levels, [SERVICES]),
            (evt.EVT_N_CREATE, mpps.create, [ports]),
            (evt.EVT_N_SET, mpps.change, [ports]),
        ]
        self._entity = _entity(ae_title)
        self._reporter = Reporter(
            ae_title, places or {}, lambda: self._entity.active_associations, rules.machines
        )

    @property
    def worklist_port(self) -> int:
        """The port that listens, once started."""
        return self._listeners[0].port

    @property
    def storage_port(self) -> int:
        """The port that listens, once started."""
        return self._listeners[-1 if self._tls is None else -2].port

    @property
    def tls_port(self) -> int:
        """The port that listens for TLS, once started; 0 when none does."""
        return self._listeners[-1].port if self._tls is not None else 0

    def tell(self, report: Report) -> None:
        """The machine knows what is kept of what it asked. Raises Unavailable, Refused."""
        self._reporter.tell(report)

    def start(self) -> None:
        """Every port listens. Raises Unavailable, naming the port, when one cannot be had; then none does."""
        _set_up_libraries()
        self._notebook.start()
        first, second = self._asked
        try:
            for port in (first,) if first and first == second else (first, second):
                self._listen(port)
            if self._tls is not None:
                self._listen(self._tls.port, self._tls)
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        """No port listens, every association has ended, and so have their threads."""
        for listener in self._listeners:
            listener.shutdown()
        for association in self._entity.active_associations:
            if association.is_established:
                association.abort()
            elif isinstance(association.dimse, Intake):
                association.dimse.hang_up()
        for association in self._entity.active_associations:
            _wait_for(association.dul)
            _wait_for(association)
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._listeners.clear()
        self._threads.clear()
        self._notebook.close()

    def _listen(self, port: int, tls: Tls | None = None) -> None:
        try:
            listener = _Listener(
                self._entity,
                (self._bind, port),
                self._entity.ae_title,
                _contexts(),
                evt_handlers=self._handlers,
            )
            listener.access, listener.tls = self.access, tls
        except OSError as error:
            raise Unavailable(f"dicom port {port}: cannot listen there ({error.strerror})") from error
        self._entity._servers.append(listener)
        self._listeners.append(listener)
        serve = partial(listener.serve_forever, poll_interval=_POLL_S)
        thread = threading.Thread(target=serve, name=f"dicom-{listener.port}", daemon=True)
        self._threads.append(thread)
        thread.start()


class _Listener(ThreadedAssociationServer):
    access: Access
    tls: Tls | None
    _polls = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A connection that sends at once: with Nagle's algorithm each answer waits for the peer's delayed ACK."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether one more connection is taken: those that ask for nothing are not endless either."""
        if len(self.ae.active_associations) < self.access.limits.connections:
            return True
        self.access.refuse(Refusal.TOO_MANY_CONNECTIONS, peer="", address=str(client_address[0]))
        return False

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The connection's own thread agrees on TLS, so that a peer that does not holds nobody up."""
        if self.tls is not None:
            try:
                request.settimeout(_TLS_TIMEOUT_S)
                request = self.tls.context().wrap_socket(request, server_side=True)
                request.settimeout(None)
            except OSError:
                self.access.refuse(Refusal.TLS, peer="", address=str(client_address[0]))
                request.close()
                return
        super().finish_request(request, client_address)

    def service_actions(self) -> None:
        """Dead associations hold themselves in cycles: they are collected now and then, not at every poll."""
        self._polls += 1
        if self._polls * _POLL_S >= _COLLECT_S:
            self._polls = 0
            gc.collect()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that could not be begun is logged; the listener goes on."""
        log.exception("dicom.connection_failed")


def _entity(ae_title: str) -> ApplicationEntity:
    entity = ApplicationEntity(ae_title)
    entity.maximum_associations = sys.maxsize  # the gate counts them
    entity.maximum_pdu_size = MAX_PDU
    entity.acse_timeout = _ACSE_TIMEOUT_S
    entity.dimse_timeout = _DIMSE_TIMEOUT_S
    entity.network_timeout = _NETWORK_TIMEOUT_S
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    return entity


def _contexts() -> list[PresentationContext]:
    """What is accepted beside storage, which takes every class in the transfer syntax that the peer likes best."""
    syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    return [build_context(uid, syntaxes) for uid in sorted(SERVICES)]


def _set_up_libraries() -> None:
    """The libraries, for this process: objects of every class are taken, and no patient's data is logged."""
    if not hasattr(sop_class, _WORKLIST_KEYWORD):  # else it would count as one more storage class
        sop_class.register_uid(MODALITY_WORKLIST, _WORKLIST_KEYWORD, BasicWorklistManagementServiceClass)
    sop_class._SERVICE_CLASSES[MODALITY_WORKLIST] = WorklistProvider
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


def _wait_for(thread: threading.Thread) -> None:
    """The thread has ended, or had its time to. One that is only being started is given the same time first."""
    until = time.monotonic() + _JOIN_S
    while thread.ident is None and time.monotonic() < until:
        time.sleep(_POLL_S / 10)
    if thread.ident is not None:
        thread.join(_JOIN_S)


def _opened(event: Event, ports: Ports, access: Access) -> None:
    association: Association = event.assoc
    wrapper = association.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        max_bytes = access.limits.object_bytes
        association.dimse = Intake(
            association, ports.files.incoming, wrapper.socket, max_object_bytes=max_bytes
        )
        association.acse = Gate(association, access)
        watch(association, access)


def _closed(event: Event) -> None:
    association: Association = event.assoc
    if isinstance(association.dimse, Intake):
        association.dimse.end()
    if isinstance(association.dul, Wire):
        association.dul.end()
    if association.requestor.primitive is None:
        # Its thread still waits for a request that cannot come any more, and would count as an association till then.
        nothing: Any = None
        association.dul.to_user_queue.put(nothing)
