"""The PDUs of a connection: read in as few pieces as they come in, and never longer than is allowed.

The library looks for work a thousand times a second and rests in between. Here its threads wait until there is some.
"""

import logging
import queue
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA

from gateway.dicom.access import Access, Refusal
from gateway.dicom.limits import MAX_PDU_TAKEN

log = logging.getLogger(__name__)

_WAIT_S = 0.01  # what nobody rings for, a timer that ran out or the end of the gateway, is seen after that
_PAUSE_S = 0.0001

_HEADER = struct.Struct(">BxL")
_ITEM = struct.Struct(">LB")
_DATA = 0x04
_KINDS = range(0x01, 0x08)
_CLOSING = "Sta13"
_CLOSED = "Evt17"
_INVALID = "Evt19"
_DATA_CAME = "Evt10"
"""A state and events of the protocol machine. Source: DICOM PS3.8 table 9-10."""


class Wire(DULServiceProvider):
    """Reads one connection. It is made out of the association's own provider by `watch`."""

    _access: Access
    _bell: tuple[
        socket.socket, socket.socket
    ]  # heard by the thread that reads; rung by whoever wants to send
    _is_done = False  # nothing more is read

    def send_pdu(self, primitive: Any) -> None:
        """The primitive is sent as soon as what is before it has left."""
        super().send_pdu(primitive)
        with suppress(OSError):  # it rings already, or the association is over
            self._bell[1].send(b"\0")

    def end(self) -> None:
        """Nobody rings any more."""
        for side in self._bell:
            side.close()

    def _is_transport_event(self) -> bool:
        if self.event_queue.empty() and self.state_machine.current_state != _CLOSING:
            self._wait()
        return super()._is_transport_event()

    def _wait(self) -> None:
        """Until the peer or we ourselves have something to say, or a moment has passed."""
        connection = self.socket.socket if self.socket is not None else None
        if connection is None or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return
        try:
            heard, _, _ = select.select([connection, self._bell[0]], [], [], _WAIT_S)
            if self._bell[0] in heard:
                self._bell[0].recv(4096)
        except (OSError, ValueError):  # closed at this moment
            time.sleep(_PAUSE_S)

    def _read_pdu_data(self) -> None:
        """One PDU is read and its event queued; where the connection ended or broke, that."""
        try:
            header = self._receive(_HEADER.size)
            kind, length = _HEADER.unpack(header)
            if self._is_done or kind not in _KINDS:
                self._break_off()
            elif length > MAX_PDU_TAKEN:
                peer, address = str(self.assoc.requestor.ae_title).strip(), str(self.assoc.requestor.address)
                self._access.refuse(Refusal.PDU_TOO_LONG, peer=peer, address=address)
                self._break_off()
            else:
                self._read(kind, header, self._receive(length))
        except OSError as error:
            log.info("dicom.connection_lost", extra={"reason": error.strerror or type(error).__name__})
            self.event_queue.put(_CLOSED)

    def _break_off(self) -> None:
        """The association is aborted, and what its peer still sends is not looked at."""
        if self._is_done and self.socket is not None:
            self.socket.close()
        else:
            self._is_done = True
            self.event_queue.put(_INVALID)

    def _read(self, kind: int, header: bytearray, body: bytearray) -> None:
        try:
            pdu, event = (_Fragments(body), _DATA_CAME) if kind == _DATA else self._decode_pdu(header + body)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
            log.warning("dicom.pdu_unreadable", extra={"pdu": kind, "reason": type(error).__name__})
            self.event_queue.put(_INVALID)
        else:
            self._recv_pdu.put(pdu)
            self.event_queue.put(event)

    def _receive(self, size: int) -> bytearray:
        """Exactly `size` bytes. Raises OSError when the connection ends before."""
        connection = self.socket.socket if self.socket is not None else None
        if connection is None:
            raise ConnectionError("closed")
        received = bytearray(size)
        rest = memoryview(received)
        while rest:
            count = connection.recv_into(rest)
            if not count:
                raise ConnectionError("closed by its peer")
            rest = rest[count:]
        return received


class _Fragments(P_DATA_TF):
    """A P-DATA-TF PDU without copies of what it carries. Source: DICOM PS3.8 9.3.5."""

    def __init__(self, body: bytearray) -> None:
        """Raises ValueError when the lengths in it do not add up."""
        super().__init__()
        self._items = list(_fragments(memoryview(body)))

    def to_primitive(self) -> P_DATA:
        """The fragments, in order."""
        items: Any = self._items
        primitive = P_DATA()
        primitive.presentation_data_value_list.extend(items)
        return primitive


def _fragments(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(body):
        length, context_id = _ITEM.unpack_from(body, at)
        end = at + 4 + length
        if length < 2 or end > len(body):
            raise ValueError("presentation data value: its length is wrong")
        yield context_id, body[at + 5 : end]
        at = end


class _Heard(queue.Queue[Any]):
    """What the association's own thread must see at once: the peer's wish to release, or an abort."""

    def __init__(self, messages: "queue.Queue[Any]") -> None:
        super().__init__()
        self._messages = messages

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """The thread, which waits for messages, wakes up to none and looks here."""
        super().put(item, block, timeout)
        self._messages.put((None, None))


def watch(association: Association, access: Access) -> None:
    """The association's connection is read by a Wire; before its thread starts."""
    provider: Any = association.dul
    provider.__class__ = Wire
    provider._access = access
    provider._bell = socket.socketpair()
    for side in provider._bell:
        side.setblocking(False)
    provider._run_loop_delay = _PAUSE_S
    provider.to_user_queue = _Heard(association.dimse.msg_queue)
