"""The DICOM listener: one application entity on its ports, every service on each of them."""

import gc
import logging
import socket
import threading
import time
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

from gateway.dicom import status
from gateway.dicom.incoming import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, Intake
from gateway.dicom.storage import store
from gateway.dicom.worklist import find
from gateway.flow.ports import Ports
from gateway.model.errors import Unavailable

log = logging.getLogger(__name__)

VERIFICATION: Final = "1.2.840.10008.1.1"
MODALITY_WORKLIST: Final = "1.2.840.10008.5.1.4.31"

_WORKLIST_KEYWORD = UID(MODALITY_WORKLIST).keyword
_MAX_PDU = 128 * 1024
_ACSE_TIMEOUT_S = 30
_DIMSE_TIMEOUT_S = 60
_NETWORK_TIMEOUT_S = 300  # machines keep an association open between two images
_POLL_S = 0.05  # how long `close` waits for a listener to notice
_COLLECT_S = 30
_JOIN_S = 10


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
        max_associations: int = 100,
    ) -> None:
        """Port 0 means any free one. Nothing listens before `start`."""
        self._bind = bind
        self._asked = (worklist_port, storage_port)
        self._listeners: list[_Listener] = []
        self._threads: list[threading.Thread] = []
        self._handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, _opened, [ports]),
            (evt.EVT_CONN_CLOSE, _closed),
            (evt.EVT_C_ECHO, lambda event: status.SUCCESS),
            (evt.EVT_C_FIND, find, [ports]),
            (evt.EVT_C_STORE, store, [ports]),
        ]
        self._entity = _entity(ae_title, max_associations)

    @property
    def worklist_port(self) -> int:
        """The port that listens, once started."""
        return self._listeners[0].port

    @property
    def storage_port(self) -> int:
        """The port that listens, once started."""
        return self._listeners[-1].port

    def start(self) -> None:
        """Every port listens. Raises Unavailable, naming the port, when one cannot be had; then none does."""
        _set_up_libraries()
        first, second = self._asked
        try:
            for port in (first,) if first and first == second else (first, second):
                self._listen(port)
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

    def _listen(self, port: int) -> None:
        try:
            listener = _Listener(
                self._entity,
                (self._bind, port),
                self._entity.ae_title,
                _contexts(),
                evt_handlers=self._handlers,
            )
        except OSError as error:
            raise Unavailable(f"dicom port {port}: cannot listen there ({error.strerror})") from error
        self._entity._servers.append(listener)
        self._listeners.append(listener)
        serve = partial(listener.serve_forever, poll_interval=_POLL_S)
        thread = threading.Thread(target=serve, name=f"dicom-{listener.port}", daemon=True)
        self._threads.append(thread)
        thread.start()


class _Listener(ThreadedAssociationServer):
    _polls = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A connection that sends at once: with Nagle's algorithm each answer waits for the peer's delayed ACK."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def service_actions(self) -> None:
        """Dead associations hold themselves in cycles: they are collected now and then, not at every poll."""
        self._polls += 1
        if self._polls * _POLL_S >= _COLLECT_S:
            self._polls = 0
            gc.collect()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that could not be begun is logged; the listener goes on."""
        log.exception("dicom.connection_failed")


def _entity(ae_title: str, max_associations: int) -> ApplicationEntity:
    entity = ApplicationEntity(ae_title)
    entity.maximum_associations = max_associations
    entity.maximum_pdu_size = _MAX_PDU
    entity.acse_timeout = _ACSE_TIMEOUT_S
    entity.dimse_timeout = _DIMSE_TIMEOUT_S
    entity.network_timeout = _NETWORK_TIMEOUT_S
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    return entity


def _contexts() -> list[PresentationContext]:
    """What is accepted beside storage, which takes every class in the transfer syntax that the peer likes best."""
    syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    return [build_context(uid, syntaxes) for uid in (VERIFICATION, MODALITY_WORKLIST)]


def _set_up_libraries() -> None:
    """The libraries, for this process: objects of every class are taken, and no patient's data is logged."""
    if not hasattr(sop_class, _WORKLIST_KEYWORD):  # else it would count as one more storage class
        sop_class.register_uid(MODALITY_WORKLIST, _WORKLIST_KEYWORD, BasicWorklistManagementServiceClass)
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


def _opened(event: Event, ports: Ports) -> None:
    association: Association = event.assoc
    wrapper = association.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        association.dimse = Intake(association, ports.files.incoming, wrapper.socket)


def _closed(event: Event) -> None:
    association: Association = event.assoc
    if isinstance(association.dimse, Intake):
        association.dimse.end()
    if association.requestor.primitive is None:
        # Its thread still waits for a request that cannot come any more, and would count as an association till then.
        nothing: Any = None
        association.dul.to_user_queue.put(nothing)
