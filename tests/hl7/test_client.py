"""Delivery over MLLP: hl7apy's server as the peer, and a socket that does everything wrong."""

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

from gateway.hl7.client import Client
from gateway.hl7.destination import Destination, Tls
from gateway.model.delivery import Delivery, DeliveryState
from gateway.model.errors import Refused, Unavailable
from gateway.model.ids import DeliveryId

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
GOLDEN = (Path(__file__).parent / "golden" / "ORU_R01-2.5.1.hl7").read_text(encoding="utf-8")
Script = Callable[[socket.socket, bytes], None]


def owed(control_id: str = "C1", number: int = 1) -> Delivery:
    payload = GOLDEN.replace("\n", "\r").replace("|C100|", f"|{control_id}|")
    return Delivery(
        id=DeliveryId(number), destination="ris", kind="ORU^R01", key="order:12", order_id=None,
        payload=payload.encode(), in_turn=True, state=DeliveryState.SENDING, attempts=1, next_at=AT, error="",
        created_at=AT, delivered_at=None,
    )  # fmt: skip


def ack(code: str = "AA", control_id: str = "C1", more: str = "") -> bytes:
    return f"\x0bMSH|^~\\&|RIS||GW||20261123||ACK|Z9|P|2.5.1\rMSA|{code}|{control_id}\r{more}\x1c\r".encode()


class Peer:
    """A listener that treats the messages of each connection as the scripts say, the last one for all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.messages: list[bytes] = []
        self.connections = 0
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        held = b""
        try:
            while chunk := connection.recv(65536):
                held += chunk
                while b"\x1c\r" in held:
                    message, _, held = held.partition(b"\x1c\r")
                    self.messages.append(message.lstrip(b"\x0b"))
                    script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                    script(connection, message)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)


def says(*chunks: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        for chunk in chunks:
            connection.sendall(chunk)

    return script


def resets(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def hangs_up(connection: socket.socket, _: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def then_hangs_up(answer: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    return script


@contextmanager
def peer_and_client(
    *scripts: Script, timeout_s: float = 0.3, max_errors: int = 3
) -> Iterator[tuple[Peer, Client]]:
    peer = Peer(*scripts)
    client = Client([destination(peer.port, timeout_s, max_errors)])
    yield peer, client
    client.close()
    peer.close()


def destination(port: int, timeout_s: float = 0.3, max_errors: int = 3) -> Destination:
    return Destination(
        name="ris", host="127.0.0.1", port=port, sources=frozenset({"ris"}), zone=ZoneInfo("Europe/London"),
        ack_timeout=timedelta(seconds=timeout_s), max_errors=max_errors,
    )  # fmt: skip


class _Taken(AbstractHandler):  # type: ignore[misc]
    """hl7apy's own receiver: the message is parsed and checked, and answered AA when it is good."""

    def __init__(self, message: str, taken: list[object]) -> None:
        super().__init__(message)
        self.taken = taken

    def reply(self) -> str:
        parsed = parse_message(self.incoming_message, force_validation=True)
        answer = f"\x0bMSH|^~\\&|RIS|||||||A1|P|2.5.1\rMSA|AA|{parsed.msh.msh_10.value}\r\x1c\r"
        self.taken.append(parsed)
        return answer


@pytest.fixture
def hl7apy_server() -> Iterator[tuple[int, list[object]]]:
    taken: list[object] = []
    server = MLLPServer("127.0.0.1", 0, {"ORU^R01^ORU_R01": (_Taken, taken)}, timeout=5)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1], taken
    server.shutdown()
    server.server_close()
    thread.join()


def test_hl7apys_server_takes_what_we_send_again_and_again(hl7apy_server: tuple[int, list[object]]) -> None:
    """It closes the connection after every answer; each next message finds that out and opens a new one."""
    port, taken = hl7apy_server
    client = Client([destination(port, 5)])
    for number in range(5):
        client.send(owed(f"C{number}", number))
    client.close()
    assert [message.msh.msh_10.value for message in taken] == [f"C{n}" for n in range(5)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_one_connection_serves_many_messages(code: str) -> None:
    def script(connection: socket.socket, message: bytes) -> None:
        connection.sendall(ack(code, message.split(b"|")[9].decode()))

    with peer_and_client(script) as (peer, client):
        for number in range(20):
            client.send(owed(f"C{number}", number))
    assert (len(peer.messages), peer.connections) == (20, 1)


def test_a_late_answer_to_an_earlier_message_is_passed_over() -> None:
    with peer_and_client(says(ack("AR", "C0"), ack())) as (peer, client):
        client.send(owed())
    assert len(peer.messages) == 1


def test_an_application_answer_after_a_commit_answer_meets_nobody() -> None:
    with peer_and_client(says(ack("CA"), ack("AA")), says(ack("AA", "C2"))) as (peer, client):
        client.send(owed())
        client.send(owed("C2", 2))
    assert (len(peer.messages), peer.connections) == (2, 1)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (says(), r"^no answer within 0\.3 s$"),
        (says(b"MSH|^~\\&|RIS\rMSA|AA|C1\r"), "21 bytes came without an MLLP frame$"),
        (says(ack("AA", "C9")), r"^no answer within 0\.3 s; 1 answers were to other messages \(MSA-2\)$"),
        (says(ack()[:-2]), "an answer had begun and did not end$"),
        (resets, "^the connection was reset before the answer$"),
        (hangs_up, "^the connection was closed before the answer$"),
        (says(b"\x0bMSH|^~\\&|RIS\r\x1c\r"), "^the answer has no MSA segment$"),
        (says(b"\x0bhello\x1c\r"), "^the answer cannot be read"),
    ],
)
def test_what_went_wrong_is_told_apart(script: Script, said: str) -> None:
    with peer_and_client(script) as (peer, client):
        with pytest.raises(Unavailable, match=said):
            client.send(owed())
        assert len(peer.messages) == 1
        with pytest.raises(Unavailable):
            client.send(owed())
    assert {message.split(b"|")[9] for message in peer.messages} == {b"C1"}


def test_a_kept_connection_that_died_is_opened_again_at_once() -> None:
    with peer_and_client(then_hangs_up(ack()), says(ack("AA", "C2"))) as (peer, client):
        client.send(owed())
        client.send(owed("C2", 2))
    assert peer.connections == 2


def test_a_kept_connection_that_is_reset_under_the_message_sends_it_once_more_under_the_same_id() -> None:
    with peer_and_client(says(ack()), resets, says(ack("AA", "C2"))) as (peer, client):
        client.send(owed())
        client.send(owed("C2", 2))
    assert [message.split(b"|")[9] for message in peer.messages] == [b"C1", b"C2", b"C2"]


def test_nobody_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = Client([destination(port)])
    with pytest.raises(Unavailable, match=r"^cannot be reached: the connection is refused$"):
        client.send(owed())


@pytest.mark.parametrize("code", ["AR", "CR"])
def test_a_rejection_is_final(code: str) -> None:
    error = "ERR||OBX^3^5|103^Table value not found^HL70357|E||||no such code\r"
    said = f"^answered {code}: OBX-5; Table value not found; no such code$"
    with peer_and_client(says(ack(code, more=error))) as (_, client), pytest.raises(Refused, match=said):
        client.send(owed())


@pytest.mark.parametrize("code", ["AE", "CE", "??"])
def test_an_error_is_tried_again_and_final_in_the_end(code: str) -> None:
    with peer_and_client(says(ack(code, more="ERR|OBR^1^4^102&Data type error&HL70357\r"))) as (_, client):
        for _try in range(2):
            with pytest.raises(Unavailable, match=re.escape(f"answered {code}: OBR 4 Data type error")):
                client.send(owed())
        with pytest.raises(Refused, match=re.escape(f"answered {code}")):
            client.send(owed())
        with pytest.raises(Unavailable):  # a person tried again: counted anew
            client.send(owed())


def test_a_destination_that_is_no_more_refuses() -> None:
    with pytest.raises(Refused, match="not configured any more"):
        Client([]).send(owed())


def test_closing_wakes_who_waits_for_an_answer() -> None:
    with peer_and_client(says(), timeout_s=30) as (peer, client):
        failed: list[str] = []

        def send() -> None:
            try:
                client.send(owed())
            except Unavailable as error:
                failed.append(str(error))

        thread = threading.Thread(target=send)
        thread.start()
        while not peer.messages:
            time.sleep(0.01)
        begun = time.monotonic()
        client.close()
        thread.join(5)
    assert time.monotonic() - begun < 5
    assert failed == ["the connection was closed before the answer"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for "ris.test" that vouches for itself, and one for us."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ris.test", "gateway.test"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder


@contextmanager
def tls_peer(folder: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ris.test.pem", folder / "ris.test.key")
    context.load_verify_locations(folder / "gateway.test.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    while secured.recv(65536):
                        secured.sendall(ack())
            except OSError:
                continue
            finally:
                plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(2)


def test_tls_with_a_certificate_of_our_own(certificates: Path) -> None:
    tls = Tls(
        ca=certificates / "ris.test.pem",
        certificate=certificates / "gateway.test.pem",
        key=certificates / "gateway.test.key",
        name="ris.test",
    )
    with tls_peer(certificates) as port:
        client = Client([replace(destination(port, 5), tls=tls)])
        client.send(owed())
        client.send(owed())
        client.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other.test"}, "certificate is not accepted.*Hostname mismatch"),
        ({"ca": None}, "certificate is not accepted"),
        ({"certificate": None, "key": None}, "^(TLS: |the connection was (reset|closed))"),
        ({"ca": Path("/nowhere.pem")}, "a certificate file cannot be read"),
    ],
)
def test_tls_says_what_is_wrong(certificates: Path, change: dict[str, object], said: str) -> None:
    tls = Tls(
        ca=certificates / "ris.test.pem",
        certificate=certificates / "gateway.test.pem",
        key=certificates / "gateway.test.key",
        name="ris.test",
    )
    with tls_peer(certificates) as port:
        client = Client([replace(destination(port, 5), tls=replace(tls, **change))])  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match=said):
            client.send(owed())
        client.close()
