"""Who is let in: the rules, and what peers are answered over the wire."""

import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context, build_role
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from gateway.certificates import CertificateFiles, server_contexts
from gateway.dicom.access import Access, Admission, Caller, Known, Refusal, read_known
from gateway.dicom.limits import MAX_PDU_TAKEN, Limits
from gateway.dicom.negotiation import STORAGE_LEVELS, VERIFICATION
from gateway.dicom.server import DicomServer, Tls
from gateway.flow.ports import Ports
from gateway.model.errors import Invalid

Objects = Callable[..., Dataset]
STORAGE = str(SecondaryCaptureImageStorage)


def _access(clock: Callable[[], datetime], *known: str, limits: Limits | None = None, **more: Any) -> Access:
    return Access(Admission(known=tuple(map(read_known, known)), **more), limits or Limits(), clock)


def _caller(calling: str = "US1", address: str = "10.1.2.3", **more: Any) -> Caller:
    values = {"called_ae": "STORESCP", "is_dicom": True, "associations": 1, "of_its_own": 1, **more}
    return Caller(calling_ae=calling, address=address, **values)


@pytest.mark.parametrize(
    ("known", "only_known", "calling", "address", "expected"),
    [
        ((), False, "ANY", "10.9.9.9", None),
        ((), True, "ANY", "10.9.9.9", Refusal.UNKNOWN_AE),
        (("US1",), True, "US1", "10.9.9.9", None),
        (("US1",), True, "US2", "10.9.9.9", Refusal.UNKNOWN_AE),
        (("US1@10.1.2.3",), True, "US1", "10.1.2.3", None),
        (("US1@10.1.2.3",), True, "US1", "10.1.2.4", Refusal.OTHER_ADDRESS),
        (("US1@10.1.2.3",), False, "US1", "10.1.2.4", Refusal.OTHER_ADDRESS),
        (("US1@10.1.2.3",), False, "US2", "10.1.2.4", None),
        (("*@10.1.0.0/16",), True, "ANY", "10.1.77.1", None),
        (("*@10.1.0.0/16",), True, "ANY", "10.2.0.1", Refusal.UNKNOWN_AE),
        (("US1@10.1.2.3", "*@10.2.0.0/16"), True, "US1", "10.2.0.1", None),
        (("US1@10.1.2.3",), True, "US1", "::ffff:10.1.2.3", None),
        (("US1@10.1.2.3",), True, "US1", "no address", Refusal.OTHER_ADDRESS),
        (("US1@fd00::/8",), True, "US1", "fd00::7", None),
    ],
)
def test_a_peer_is_known_by_title_and_address(
    known: tuple[str, ...],
    only_known: bool,
    calling: str,
    address: str,
    expected: Refusal | None,
    ports: Ports,
) -> None:
    access = _access(ports.clock, *known, only_known=only_known)
    assert access.judge(_caller(calling, address)) is expected


@pytest.mark.parametrize(
    "text", ["", "*", "@10.0.0.1", "US1@", "US1@nowhere", "*@", "A" * 17, "US1@10.0.0.1/8", "US1@10.0.0.1/33"]
)
def test_what_names_no_peer_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"TITLE|address"):
        read_known(text)


def test_limits_come_before_rules(ports: Ports) -> None:
    limits = Limits(associations=5, associations_per_peer=2, associations_per_minute=100)
    access = _access(ports.clock, limits=limits, called_ae="STORESCP")
    assert access.judge(_caller(associations=6)) is Refusal.FULL
    assert access.judge(_caller(of_its_own=3)) is Refusal.PEER_FULL
    assert access.judge(_caller(is_dicom=False)) is Refusal.APPLICATION
    assert access.judge(_caller(called_ae="OTHER")) is Refusal.CALLED_AE
    assert access.judge(_caller()) is None


def test_a_peer_that_asks_too_often_waits_a_minute(ports: Ports, clock: Any) -> None:
    access = _access(ports.clock, limits=Limits(associations_per_minute=3))
    assert [access.judge(_caller()) for _ in range(4)] == [None, None, None, Refusal.TOO_OFTEN]
    assert access.judge(_caller(address="10.1.2.4")) is None
    clock.advance(seconds=61)
    assert access.judge(_caller()) is None


@contextmanager
def _serving(ports: Ports, access: Access, tls: Tls | None = None) -> Iterator[DicomServer]:
    server = DicomServer(
        ports, ae_title="STORESCP", bind="127.0.0.1", worklist_port=0, storage_port=0, access=access, tls=tls
    )
    server.start()
    try:
        yield server
    finally:
        server.close()


def _associate(
    server: DicomServer, *classes: str, called: str = "STORESCP", title: str = "US1"
) -> Association:
    contexts = [build_context(uid, ExplicitVRLittleEndian) for uid in classes]
    return AE(title).associate("127.0.0.1", server.storage_port, contexts=contexts, ae_title=called)


def _rejection(association: Association) -> tuple[int | None, int | None, int | None]:
    answer = association.acceptor.primitive
    assert answer is not None
    return answer.result, answer.result_source, answer.diagnostic


def test_a_stranger_may_echo_and_nothing_else(ports: Ports, caplog: pytest.LogCaptureFixture) -> None:
    access = _access(ports.clock, "US9", only_known=True)
    with _serving(ports, access) as server:
        association = _associate(server, VERIFICATION, STORAGE)
        assert [c.abstract_syntax for c in association.accepted_contexts] == [VERIFICATION]
        assert [(c.abstract_syntax, c.result) for c in association.rejected_contexts] == [(STORAGE, 1)]
        assert association.send_c_echo().Status == 0x0000
        association.release()
        refused = _associate(server, STORAGE)
        assert refused.is_rejected
        assert _rejection(refused) == (1, 1, 3)
        assert _associate(server, STORAGE, title="US9").is_established
    assert access.refused == {Refusal.UNKNOWN_AE: 2}
    assert "dicom.refused" in caplog.text


def test_a_wrong_called_title_is_said_and_echo_is_answered_anyhow(ports: Ports) -> None:
    access = _access(ports.clock, called_ae="STORESCP")
    with _serving(ports, access) as server:
        refused = _associate(server, STORAGE, called="OTHER")
        assert _rejection(refused) == (1, 1, 7)
        echo = _associate(server, VERIFICATION, called="OTHER")
        assert echo.send_c_echo().Status == 0x0000
        echo.release()
        right = _associate(server, STORAGE)
        assert right.is_established
        right.release()
    assert access.refused == {Refusal.CALLED_AE: 2}


def test_one_peer_cannot_have_every_association(ports: Ports) -> None:
    access = _access(ports.clock, limits=Limits(associations_per_peer=1))
    with _serving(ports, access) as server:
        first = _associate(server, VERIFICATION)
        second = _associate(server, VERIFICATION)
        assert _rejection(second) == (2, 3, 2)
        first.release()
    assert access.refused == {Refusal.PEER_FULL: 1}


def test_connections_that_ask_for_nothing_have_an_end(ports: Ports) -> None:
    access = _access(ports.clock, limits=Limits(associations=1))
    with _serving(ports, access) as server:
        silent = [socket.create_connection(("127.0.0.1", server.storage_port)) for _ in range(16)]
        silent[-1].settimeout(10)
        assert silent[-1].recv(10) == b""
        for connection in silent:
            connection.close()
    assert access.refused[Refusal.TOO_MANY_CONNECTIONS] >= 1


def test_an_object_larger_than_is_stored_is_refused_and_leaves_nothing(
    ports: Ports, make_object: Objects
) -> None:
    access = _access(ports.clock, limits=Limits(object_bytes=1000))
    with _serving(ports, access) as server:
        association = _associate(server, STORAGE)
        large = make_object()
        large.PatientComments = "x" * 2000
        assert association.send_c_store(large).Status == 0xA700
        assert association.send_c_store(make_object()).Status == 0x0000
        association.release()
    assert access.refused == {Refusal.OBJECT_TOO_LONG: 1}
    assert len([path for path in ports.files.path("").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("size", [MAX_PDU_TAKEN + 1, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", [1, 4])
def test_a_pdu_of_any_announced_size_ends_the_association_at_once(
    kind: int, size: int, ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    access = _access(ports.clock)
    with _serving(ports, access) as server:
        if kind == 1:
            connection = socket.create_connection(("127.0.0.1", server.storage_port), timeout=10)
        else:
            association = _associate(server, VERIFICATION)
            wrapper = association.dul.socket
            assert wrapper is not None
            assert wrapper.socket is not None
            connection = wrapper.socket
        connection.sendall(struct.pack(">BxL", kind, size))
        if kind == 1:
            assert connection.recv(10) == bytes([7, 0, 0, 0, 0, 4, 0, 0, 0, 0])  # A-ABORT
            connection.close()
        else:
            until = time.monotonic() + 10
            while not association.is_aborted and time.monotonic() < until:
                time.sleep(0.01)
            assert association.is_aborted
            connection.close()
        echo = _associate(server, VERIFICATION)
        assert echo.send_c_echo().Status == 0x0000
        echo.release()
    assert access.refused == {Refusal.PDU_TOO_LONG: 1}
    assert "Traceback" not in caplog.text


def test_roles_and_extended_negotiation_are_answered(ports: Ports) -> None:
    with _serving(ports, _access(ports.clock)) as server:
        commitment = "1.2.840.10008.1.20.1"
        level = SOPClassExtendedNegotiation()
        level.sop_class_uid, level.service_class_application_information = (
            STORAGE,
            b"\x02\x00\x00\x00\x00\x00",
        )
        contexts = [build_context(uid, ExplicitVRLittleEndian) for uid in (STORAGE, commitment)]
        roles: list[Any] = [build_role(commitment, scu_role=True, scp_role=True), level]
        association = AE("US1").associate("127.0.0.1", server.storage_port, contexts=contexts, ext_neg=roles)
        assert len(association.accepted_contexts) == 2
        (answered,) = [role for uid, role in association.acceptor.role_selection.items() if uid == commitment]
        assert (answered.scu_role, answered.scp_role) == (True, False)
        assert association.acceptor.sop_class_extended == {STORAGE: STORAGE_LEVELS}
        association.release()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and the certificates of a server and of a machine that it signed."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    request = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    for name in ("authority", "stranger"):
        openssl(*request, "-x509", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name in ("server", "machine"):
        openssl(*request, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
                "-CAcreateserial", "-days", "2", "-out", f"{name}.pem")  # fmt: skip
    return folder


def _tls(folder: Path, *, mutual: bool) -> Tls:
    authorities = folder / "authority.pem" if mutual else None
    files = CertificateFiles(
        certificate=folder / "server.pem", key=folder / "server.key", authorities=authorities
    )
    return Tls(port=0, context=server_contexts(files))


def _to(server: DicomServer) -> list[str]:
    return ["-aet", "US1", "-aec", "STORESCP", "127.0.0.1", str(server.tls_port)]


@pytest.mark.dcmtk
def test_dcmtk_stores_and_asks_over_tls(
    dcmtk: Any, ports: Ports, certificates: Path, make_object: Objects, tmp_path: Path
) -> None:
    image = tmp_path / "image.dcm"
    make_object().save_as(image, enforce_file_format=True)
    trust = ["+tla", "+cf", certificates / "authority.pem"]
    with _serving(ports, _access(ports.clock), _tls(certificates, mutual=False)) as server:
        assert dcmtk("echoscu", *trust, *_to(server)).returncode == 0
        assert dcmtk("storescu", *trust, *_to(server), image).returncode == 0
        asked = dcmtk("findscu", *trust, "-W", "-k", "0008,0050", *_to(server))
        assert asked.returncode == 0
        assert dcmtk("echoscu", *_to(server)).returncode != 0
        plain = ["-aet", "US1", "-aec", "STORESCP", "127.0.0.1", str(server.storage_port)]
        assert dcmtk("echoscu", *plain).returncode == 0
    assert len(list(ports.files.path("").rglob("*.dcm"))) == 1


@pytest.mark.dcmtk
def test_mutual_tls_asks_machines_for_their_certificate(dcmtk: Any, ports: Ports, certificates: Path) -> None:
    access = _access(ports.clock)
    trust = ["+cf", certificates / "authority.pem"]
    own = ["+tls", certificates / "machine.key", certificates / "machine.pem"]
    other = ["+tls", certificates / "stranger.key", certificates / "stranger.pem"]
    with _serving(ports, access, _tls(certificates, mutual=True)) as server:
        assert dcmtk("echoscu", *own, *trust, *_to(server)).returncode == 0
        assert dcmtk("echoscu", "+tla", *trust, *_to(server)).returncode != 0
        assert dcmtk("echoscu", *other, *trust, *_to(server)).returncode != 0
        assert dcmtk("echoscu", *own, *trust, *_to(server)).returncode == 0
    assert access.refused == {Refusal.TLS: 2}


def test_a_peer_that_says_nothing_holds_no_tls_connection_up(ports: Ports, certificates: Path) -> None:
    with (
        _serving(ports, _access(ports.clock), _tls(certificates, mutual=False)) as server,
        socket.create_connection(("127.0.0.1", server.tls_port)),
    ):
        context = ssl.create_default_context(cafile=certificates / "authority.pem")
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", server.tls_port), timeout=5) as plain,
            context.wrap_socket(plain) as secure,
        ):
            assert secure.version() in ("TLSv1.2", "TLSv1.3")


def test_old_tls_versions_and_weak_ciphers_are_not_spoken(ports: Ports, certificates: Path) -> None:
    context = server_contexts(
        CertificateFiles(certificate=certificates / "server.pem", key=certificates / "server.key")
    )()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert all(
        name.startswith(("ECDHE-", "TLS_")) and "CBC" not in name and "RC4" not in name for name in names
    )


def test_known_machines_are_those_of_the_configuration() -> None:
    assert read_known("US1@10.1.2.3") == Known(ae_title="US1", networks=read_known("*@10.1.2.3").networks)
