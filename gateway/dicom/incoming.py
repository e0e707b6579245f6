"""What a peer sends as the data set of a message, while it arrives.

An object to store goes straight to a Part 10 file in the files' incoming folder, digested on its way, so that its
size does not matter. Anything else stays in memory up to a limit. A full disk is remembered, not raised: the thread
that reads the network must live to let the answer out.
"""

import hashlib
import os
import queue
import socket
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE, N_ACTION, N_EVENT_REPORT
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import P_DATA

from gateway.dicom.access import MAX_AE_TITLE
from gateway.dicom.command import COMMAND, fragments, packed, pdu, store_response

IMPLEMENTATION_CLASS_UID: Final = "2.25.83483152035376490018367982943159325517"
IMPLEMENTATION_VERSION: Final = "ORDER_GATEWAY"
_MAX_IN_MEMORY = 4 * 1024 * 1024
_BUFFER = 1024 * 1024
_WAIT_S = 0.01  # the association's thread then looks whether the gateway ends


class IncomingObject:
    """A Part 10 file being written. Its owner moves it away or calls `discard`."""

    def __init__(self, folder: Path, header: bytes, *, max_bytes: int | None = None) -> None:
        """`max_bytes` is of the data set, None for any size. Raises OSError when no file can be made."""
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
        self.path = Path(name)
        self.offset = len(header)  # where the data set begins
        self.size = 0  # of the data set
        self._max_bytes = max_bytes
        self.failure: OSError | None = None
        self._digest = hashlib.sha256()
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER)
        self._vanish = weakref.finalize(self, _remove, self._file, self.path)
        self._keep_writing(header)

    @property
    def sha256(self) -> str:
        """Of the data set's bytes, without the header."""
        return self._digest.hexdigest()

    @property
    def is_too_long(self) -> bool:
        """Whether more came than is stored."""
        return self._max_bytes is not None and self.size > self._max_bytes

    def write(self, chunk: bytes | memoryview) -> None:
        """The chunk is part of the file; after a failure, or past the limit, nothing is written any more."""
        self.size += len(chunk)
        if not self.is_too_long:
            self._digest.update(chunk)
            self._keep_writing(chunk)

    def finish(self) -> None:
        """The file is whole. Raises the OSError that kept it from being so."""
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or error
        if self.failure is not None:
            raise self.failure

    def discard(self) -> None:
        """The file is closed and gone, if it is still where it was written."""
        self._vanish()

    def _keep_writing(self, chunk: bytes | memoryview) -> None:
        if self.failure is None:
            try:
                self._file.write(chunk)
            except OSError as error:
                self.failure = error


class IncomingData(BytesIO):
    """A message's data set. `object` is the file it goes to, None when it is kept in memory."""

    def __init__(self, begin: Callable[[], IncomingObject | None]) -> None:
        super().__init__()
        self._begin = begin
        self._has_begun = False
        self.object: IncomingObject | None = None
        self.failure: OSError | None = None  # no file could be made
        self.is_too_long = False

    def write(self, chunk: Any, /) -> int:
        """The number of bytes in `chunk`, whatever became of them."""
        if not self._has_begun:
            self._start()
        if self.object is not None:
            self.object.write(chunk)
        elif self.tell() + len(chunk) > _MAX_IN_MEMORY:
            self.is_too_long = True
        elif self.failure is None:
            super().write(chunk)
        return len(chunk)

    def _start(self) -> None:
        self._has_begun = True
        try:
            self.object = self._begin()
        except OSError as error:
            self.failure = error


class Intake(DIMSEServiceProvider):
    """Reads an association's messages, objects into `folder`. Takes the place of the association's own provider."""

    def __init__(
        self,
        association: Association,
        folder: Path,
        connection: socket.socket,
        *,
        max_object_bytes: int | None = None,
    ) -> None:
        super().__init__(association)
        self._incoming = self.msg_queue = _Incoming()
        self._max_object_bytes = max_object_bytes
        self._sending = threading.Lock()
        self.is_idle = threading.Event()  # no storage commitment request waits for its answer
        self.is_idle.set()
        self._folder = folder
        self._connection = connection
        self._lock = threading.Lock()
        self._unclaimed: set[IncomingObject] = set()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Reads one P-DATA; a message begins with it where none is under way."""
        if self.message is None:
            message = DIMSEMessage()
            message.data_set = IncomingData(lambda: self._begin(message))
            self.message = message
        super().receive_primitive(primitive)

    def get_msg(self, block: bool = False) -> Any:
        """The next message and its context; a pair of None when there is none, which is waited for a moment."""
        try:
            return self.msg_queue.get(timeout=self.dimse_timeout if block else _WAIT_S)
        except queue.Empty:
            return None, None

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """The message is sent whole: reports are sent by other threads than answers."""
        if isinstance(primitive, C_STORE):
            self._send_stored(primitive, context_id)
            return
        with self._sending:
            super().send_msg(primitive, context_id)
        if isinstance(primitive, N_ACTION):
            self.is_idle.set()

    def _send_stored(self, response: C_STORE, context_id: int) -> None:
        command = store_response(
            response.MessageIDBeingRespondedTo or 0,
            str(response.AffectedSOPClassUID or ""),
            str(response.AffectedSOPInstanceUID or ""),
            response.Status or 0,
            str(response.ErrorComment or ""),
        )
        largest = self.maximum_pdu_size
        groups = packed(list(fragments(command, COMMAND, largest)), largest)
        self.send_values(pdu(context_id, group) for group in groups)

    def send_values(self, pdus: Iterable[P_DATA]) -> None:
        """The PDUs of one message are sent one after the other, as `send_msg` sends those of its own."""
        with self._sending:
            for pdu in pdus:
                self.dul.send_pdu(pdu)

    def report(self, primitive: N_EVENT_REPORT, context_id: int, timeout_s: float) -> N_EVENT_REPORT | None:
        """The peer's answer to an event report, while its requests go on being served; None when none came."""
        self.send_msg(primitive, context_id)
        with suppress(queue.Empty):
            return self._incoming.replies.get(timeout=timeout_s)
        return None

    def claim(self, incoming: IncomingObject) -> bool:
        """Whether the object is the caller's from now on; False when its association ended first."""
        with self._lock:
            is_ours = incoming in self._unclaimed
            self._unclaimed.discard(incoming)
        return is_ours

    def hang_up(self) -> None:
        """The connection ends, as if its peer had ended it."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Nothing half-received is left on disk, and the connection is closed even where its peer was quicker."""
        with self._lock:
            left, self._unclaimed = self._unclaimed, set()
        for incoming in left:
            incoming.discard()
        self._connection.close()

    def _begin(self, message: DIMSEMessage) -> IncomingObject | None:
        if not isinstance(message, C_STORE_RQ):
            return None
        header = self._header(message)
        incoming = IncomingObject(self._folder, header, max_bytes=self._max_object_bytes)
        with self._lock:
            self._unclaimed.add(incoming)
        return incoming

    def _header(self, message: DIMSEMessage) -> bytes:
        command = message.command_set
        syntaxes = {
            context.context_id: str(context.transfer_syntax[0]) for context in self.assoc.accepted_contexts
        }
        return file_header(
            sop_class=str(command.get("AffectedSOPClassUID") or ""),
            sop_uid=str(command.get("AffectedSOPInstanceUID") or ""),
            transfer_syntax=syntaxes.get(message.context_id, ""),
            calling_ae=self.assoc.requestor.ae_title,
        )


class _Incoming(queue.Queue[Any]):
    """Messages for the association's own thread; answers to event reports go to whoever sent those."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: queue.Queue[N_EVENT_REPORT] = queue.Queue()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """The message waits for whom it is."""
        if isinstance(item[1], N_EVENT_REPORT):
            self.replies.put(item[1])
        else:
            super().put(item, block, timeout)


def calling_ae(event: Event) -> str:
    """The AE title of the peer, without the blanks around it."""
    return str(event.assoc.requestor.ae_title).strip()


def file_header(*, sop_class: str, sop_uid: str, transfer_syntax: str, calling_ae: str) -> bytes:
    """Preamble and file meta information of a Part 10 file. Source: DICOM PS3.10 7.1."""
    elements = b"".join(
        (
            struct.pack("<HH2sHI2s", 0x0002, 0x0001, b"OB", 0, 2, b"\x00\x01"),
            _text(0x0002, b"UI", sop_class),
            _text(0x0003, b"UI", sop_uid),
            _text(0x0010, b"UI", transfer_syntax),
            _text(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _text(0x0013, b"SH", IMPLEMENTATION_VERSION),
            _text(0x0016, b"AE", calling_ae.strip()[:MAX_AE_TITLE]),
        )
    )
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def _text(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _remove(file: Any, path: Path) -> None:
    with suppress(OSError):  # of the disk that could not take the rest
        file.close()
    path.unlink(missing_ok=True)
