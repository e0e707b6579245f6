"""The listener: every service on each port, and nothing that a peer does ends it."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from gateway.dicom.access import Access, Admission
from gateway.dicom.answering import MODALITY_WORKLIST
from gateway.dicom.incoming import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.dicom.limits import Limits
from gateway.dicom.negotiation import VERIFICATION
from gateway.dicom.server import DicomServer
from gateway.flow.ports import Ports
from gateway.model.errors import Unavailable
from gateway.model.order import Order
from gateway.store import worklist

Make = Callable[..., Order]
Keys = Callable[..., Dataset]
Objects = Callable[..., Dataset]


def _limited(ports: Ports, limits: Limits) -> Access:
    return Access(Admission(), limits, ports.clock)


def _echo(peer: Any, port: int) -> int:
    with peer.associated(port=port) as association:
        return int(association.send_c_echo().Status)


def test_both_ports_serve_every_service(
    peer: Any, order_factory: Make, keys: Keys, make_object: Objects
) -> None:
    order_factory()
    server = peer.server
    assert server.worklist_port != server.storage_port
    for number, port in enumerate((server.worklist_port, server.storage_port)):
        assert _echo(peer, port) == 0x0000
        status, matches = peer.find(keys(AccessionNumber=""), port=port)
        assert (status, len(matches)) == (0x0000, 1)
        assert peer.store(make_object(f"1.2.3.{number + 1}"), port=port) == 0x0000


def test_the_listener_says_who_it_is(peer: Any) -> None:
    with peer.associated() as association:
        acceptor = association.acceptor
        assert acceptor.implementation_class_uid == IMPLEMENTATION_CLASS_UID
        assert acceptor.implementation_version_name == IMPLEMENTATION_VERSION
        assert acceptor.maximum_length == 128 * 1024


def test_worklist_speaks_little_endian_only_and_no_query_retrieve(peer: Any) -> None:
    ae = AE("US1")
    ae.add_requested_context(MODALITY_WORKLIST, ExplicitVRBigEndian)
    ae.add_requested_context("1.2.840.10008.5.1.4.1.2.1.1")  # Patient Root FIND
    ae.add_requested_context(VERIFICATION, ImplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", peer.server.worklist_port)
    assert [context.abstract_syntax for context in association.accepted_contexts] == [VERIFICATION]
    association.release()


def test_one_port_for_everything(ports: Ports) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = DicomServer(ports, ae_title="X", bind="127.0.0.1", worklist_port=port, storage_port=port)
    server.start()
    try:
        assert server.worklist_port == server.storage_port == port
    finally:
        server.close()


def test_a_port_in_use_is_named_and_nothing_listens(ports: Ports, server: DicomServer) -> None:
    taken = server.storage_port
    before = threading.active_count()
    second = DicomServer(ports, ae_title="X", bind="127.0.0.1", worklist_port=0, storage_port=taken)
    with pytest.raises(Unavailable, match=f"dicom port {taken}"):
        second.start()
    assert threading.active_count() == before


def test_close_ends_associations_and_threads(peer: Any) -> None:
    before = threading.active_count()
    with peer.associated() as association:
        peer.server.close()
        association.dul.join(10)
        assert not association.is_established or association.is_aborted
    assert threading.active_count() < before
    peer.server.start()
    assert _echo(peer, peer.server.storage_port) == 0x0000


def test_too_many_associations_are_turned_away_and_then_welcome_again(ports: Ports, called: Any) -> None:
    server = DicomServer(
        ports,
        ae_title="X",
        bind="127.0.0.1",
        worklist_port=0,
        storage_port=0,
        access=_limited(ports, Limits(associations=1)),
    )
    server.start()
    try:
        ae = AE("US1")
        ae.add_requested_context(VERIFICATION)
        first = ae.associate("127.0.0.1", server.worklist_port)
        second = ae.associate("127.0.0.1", server.worklist_port)
        assert first.is_established
        assert second.is_rejected
        first.release()
        for thread in threading.enumerate():
            if "Acceptor" in thread.name and thread is not threading.current_thread():
                thread.join(5)
        third = ae.associate("127.0.0.1", server.worklist_port)
        assert third.is_established
        third.release()
    finally:
        server.close()


NOISE = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": os.urandom(2048),
    "a request cut short": struct.pack(">BBL", 1, 0, 500) + bytes(100),
    "data before association": struct.pack(">BBL", 4, 0, 8) + bytes(8),
    "an abort": struct.pack(">BBL", 7, 0, 4) + bytes(4),
    "a hostile request": struct.pack(">BBL", 1, 0, 68) + b"\xff" * 68,
}


@pytest.mark.parametrize("noise", NOISE)
def test_noise_does_not_end_the_listener(noise: str, peer: Any) -> None:
    for port in (peer.server.worklist_port, peer.server.storage_port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(NOISE[noise])
        assert _echo(peer, port) == 0x0000


def test_connections_that_say_nothing_count_only_while_they_last(ports: Ports) -> None:
    server = DicomServer(
        ports,
        ae_title="X",
        bind="127.0.0.1",
        worklist_port=0,
        storage_port=0,
        access=_limited(ports, Limits(associations=2)),
    )
    server.start()
    try:
        silent = [socket.create_connection(("127.0.0.1", server.worklist_port)) for _ in range(4)]
        for connection in silent:
            connection.close()
        ae = AE("US1")
        ae.add_requested_context(VERIFICATION)
        until = time.monotonic() + 10
        association = ae.associate("127.0.0.1", server.worklist_port)
        while not association.is_established and time.monotonic() < until:
            time.sleep(0.1)  # the server has still to see that they are gone
            association = ae.associate("127.0.0.1", server.worklist_port)
        assert association.is_established
        association.release()
    finally:
        server.close()


def test_close_does_not_wait_for_connections_that_say_nothing(ports: Ports) -> None:
    before = threading.active_count()
    server = DicomServer(ports, ae_title="X", bind="127.0.0.1", worklist_port=0, storage_port=0)
    server.start()
    with socket.create_connection(("127.0.0.1", server.worklist_port)) as connection:
        connection.sendall(b"\x01\x00\x00\x00")
        server.close()
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert threading.active_count() == before


def test_a_fault_of_our_own_is_answered_and_outlived(
    peer: Any, order_factory: Make, keys: Keys, make_object: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_factory()

    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(worklist, "find", broken)
        patch.setattr("gateway.dicom.storage.keep", broken)
        assert peer.find(keys(AccessionNumber="")) == (0xC001, [])
        assert peer.store(make_object()) == 0xC002
    assert len(peer.find(keys(AccessionNumber=""))[1]) == 1
    assert peer.store(make_object()) == 0x0000
