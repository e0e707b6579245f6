import logging
import shutil
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.certificates import CertificateFiles, server_contexts
from gateway.hl7.access import Access
from gateway.hl7.framing import End, frame
from gateway.model.connection import read_subject
from gateway.model.errors import Invalid
from gateway.model.network import read_network
from tests.authority import Authority, Owner, openssl

Listen = Callable[..., Any]
PATIENCE_S = 20.0

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Everybody's certificates."""

    ca: Owner
    server: Owner
    other_server: Owner
    ris: Owner
    pacs: Owner
    stranger: Owner


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    authority, elsewhere = Authority(folder, "ca"), Authority(folder, "elsewhere")
    return Keys(
        ca=authority.itself,
        server=authority.sign("server", "/CN=gateway"),
        other_server=authority.sign("other-server", "/CN=gateway-2027"),
        ris=authority.sign("ris", "/O=Hospital/CN=ris"),
        pacs=authority.sign("pacs", "/O=Hospital/CN=pacs"),
        stranger=elsewhere.sign("stranger", "/CN=ris"),
    )


class Files:
    """The files a listener reads, which may be exchanged."""

    def __init__(self, folder: Path, owner: Owner, client_ca: Path | None = None) -> None:
        self.certificate = folder / "in-use.pem"
        self.key = folder / "in-use.key"
        self._client_ca = client_ca
        self.put(owner)

    def put(self, owner: Owner) -> None:
        for source, target in ((owner.certificate, self.certificate), (owner.key, self.key)):
            fresh = target.with_suffix(".new")
            fresh.write_bytes(source.read_bytes())
            fresh.replace(target)

    def read(self) -> Callable[[], ssl.SSLContext]:
        files = CertificateFiles(
            certificate=self.certificate,
            key=self.key,
            authorities=self._client_ca,
            name="hl7.listeners.ris.tls",
        )
        return server_contexts(files)


class Caller:
    """A peer that speaks TLS, with nothing of ours in it."""

    def __init__(self, port: int, keys: Keys, owner: Owner | None = None, **limits: Any) -> None:
        context = ssl.create_default_context(cafile=str(keys.ca.certificate))
        for name, value in limits.items():
            setattr(context, name, value)
        if owner is not None:
            context.load_cert_chain(owner.certificate, owner.key)
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        try:
            self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise

    @property
    def server(self) -> str:
        """The common name in the server's certificate."""
        shown: Any = self.socket.getpeercert()
        return next(str(value) for ((name, value),) in shown["subject"] if name == "commonName")

    def ask(self, message: bytes) -> bytes:
        """What comes back, frame bytes included; empty when the other side closed."""
        self.socket.sendall(frame(message))
        found = b""
        while not found.endswith(b"\x1c\r"):
            chunk = self.socket.recv(65536)
            if not chunk:
                break
            found += chunk
        return found

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def echo(raw: bytes, _peer: str, _end: End = End.WHOLE) -> bytes:
    return b"ACK " + raw


def is_turned_away(port: int, keys: Keys, owner: Owner | None = None) -> bool:
    """Whether the peer gets no answer. By TLS 1.3 it learns so when it reads."""
    try:
        with Caller(port, keys, owner) as caller:
            return caller.ask(b"1") == b""
    except OSError:
        return True


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Why peers were turned away."""
    return [str(record.__dict__["reason"]) for record in caplog.records if record.msg == "hl7.turned_away"]


def test_messages_are_answered_by_tls(listen: Listen, keys: Keys, tmp_path: Path) -> None:
    port = listen(echo, contexts=Files(tmp_path, keys.server).read()).port
    with Caller(port, keys) as caller:
        assert (caller.server, caller.ask(b"1"), caller.ask(b"x" * 200_000)) == (
            "gateway",
            frame(b"ACK 1"),
            frame(b"ACK " + b"x" * 200_000),
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(
    listen: Listen, keys: Keys, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    port = listen(echo, contexts=Files(tmp_path, keys.server).read()).port
    with Caller(port, keys, minimum_version=version, maximum_version=version) as caller:
        assert caller.ask(b"1") == frame(b"ACK 1")


def test_nothing_older_than_tls_1_2_is_offered(keys: Keys, tmp_path: Path) -> None:
    assert Files(tmp_path, keys.server).read()().minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_peer_without_tls_is_turned_away_without_a_traceback(
    listen: Listen, keys: Keys, tmp_path: Path, call: Callable[[int], Any], caplog: pytest.LogCaptureFixture
) -> None:
    running = listen(echo, contexts=Files(tmp_path, keys.server).read())
    peer = call(running.port)
    peer.write(frame(b"MSH|SECRET"))
    with suppress(ConnectionResetError):
        assert b"ACK" not in peer.answer()
    running.close()
    assert len(told(caplog)) == 1
    assert not any(record.exc_info for record in caplog.records)
    assert "SECRET" not in caplog.text


def test_too_long_a_frame_is_answered_by_tls_too(listen: Listen, keys: Keys, tmp_path: Path) -> None:
    port = listen(echo, contexts=Files(tmp_path, keys.server).read(), max_bytes=1000).port
    with Caller(port, keys) as caller:
        assert caller.ask(b"x" * 100_000) == frame(b"ACK " + b"x" * 1000)


def test_only_clients_signed_by_the_authority_are_let_in(
    listen: Listen, keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = listen(echo, contexts=Files(tmp_path, keys.server, keys.ca.certificate).read())
    with Caller(running.port, keys, keys.ris) as caller:
        assert caller.ask(b"1") == frame(b"ACK 1")
    assert is_turned_away(running.port, keys)
    assert is_turned_away(running.port, keys, keys.stranger)
    running.close()
    assert len(told(caplog)) == 2
    assert not any(record.exc_info for record in caplog.records)


def test_only_the_subjects_listed_are_let_in(
    listen: Listen, keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(subjects=(read_subject("CN=ris,O=Hospital"),))
    contexts = Files(tmp_path, keys.server, keys.ca.certificate).read()
    running = listen(echo, contexts=contexts, access=access)
    with Caller(running.port, keys, keys.ris) as caller:
        assert caller.ask(b"1") == frame(b"ACK 1")
    assert is_turned_away(running.port, keys, keys.pacs)
    running.close()
    assert told(caplog) == ["subject"]


def test_only_the_addresses_listed_are_let_in(
    listen: Listen, call: Callable[[int], Any], caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(networks=(read_network("10.0.0.0/8"),))
    running = listen(echo, access=access)
    assert call(running.port).answer() == b""
    running.close()
    assert told(caplog) == ["address"]
    assert call(listen(echo, access=Access(networks=(read_network("127.0.0.0/8"),))).port) is not None


def test_a_new_certificate_counts_for_new_connections_and_open_ones_stay(
    listen: Listen, keys: Keys, tmp_path: Path
) -> None:
    files = Files(tmp_path, keys.server)
    port = listen(echo, contexts=files.read()).port
    with Caller(port, keys) as before:
        assert before.ask(b"1") == frame(b"ACK 1")
        files.put(keys.other_server)
        with Caller(port, keys) as after:
            assert (after.server, after.ask(b"2")) == ("gateway-2027", frame(b"ACK 2"))
        assert before.ask(b"3") == frame(b"ACK 3")


def test_a_bad_new_certificate_leaves_the_old_one_in_use_and_is_told_once(
    listen: Listen, keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(tmp_path, keys.server)
    port = listen(echo, contexts=files.read()).port
    files.certificate.write_text("no certificate")
    for _ in range(2):
        with Caller(port, keys) as caller:
            assert (caller.server, caller.ask(b"1")) == ("gateway", frame(b"ACK 1"))
    files.certificate.unlink()
    with Caller(port, keys) as caller:
        assert caller.server == "gateway"
    refused = [record for record in caplog.records if record.msg == "certificate.unusable"]
    assert [record.levelno for record in refused] == [logging.ERROR] * 2
    files.put(keys.other_server)
    with Caller(port, keys) as caller:
        assert caller.server == "gateway-2027"


def test_a_silent_handshake_does_not_hold_up_the_end(listen: Listen, keys: Keys, tmp_path: Path) -> None:
    running = listen(echo, contexts=Files(tmp_path, keys.server).read())
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S) as silent:
        with Caller(running.port, keys) as caller:  # by now the silent one is inside
            assert caller.ask(b"1") == frame(b"ACK 1")
        running.close()
        assert silent.recv(10) == b""


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda files: files.certificate.unlink(), "in-use.pem cannot be read: No such file"),
        (lambda files: files.key.unlink(), "in-use.key cannot be read: No such file"),
        (
            lambda files: files.certificate.write_text("x"),
            "in-use.key: not a PEM certificate with its own key",
        ),
        (lambda files: files.key.write_text("x"), "in-use.key: not a PEM certificate with its own key"),
    ],
)
def test_files_that_do_not_do_are_refused_by_their_key_and_name(
    keys: Keys, tmp_path: Path, spoil: Callable[[Files], object], said: str
) -> None:
    files = Files(tmp_path, keys.server)
    spoil(files)
    with pytest.raises(Invalid) as caught:
        files.read()
    assert str(caught.value).startswith("hl7.listeners.ris.tls: ")
    assert said in str(caught.value)


def test_a_key_of_another_certificate_is_refused(keys: Keys) -> None:
    with pytest.raises(Invalid, match="its own key"):
        server_contexts(CertificateFiles(certificate=keys.server.certificate, key=keys.ris.key))


def test_a_key_with_a_password_is_refused_without_asking(keys: Keys, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    openssl("pkcs8", "-topk8", "-in", keys.server.key, "-out", locked, "-passout", "pass:secret")
    with pytest.raises(Invalid, match="no password"):
        server_contexts(CertificateFiles(certificate=keys.server.certificate, key=locked))


@pytest.mark.parametrize("content", [None, "nobody"])
def test_an_authority_that_does_not_do_is_refused_by_its_name(
    keys: Keys, tmp_path: Path, content: str | None
) -> None:
    authority = tmp_path / "authority.pem"
    if content is not None:
        authority.write_text(content)
    with pytest.raises(Invalid, match=r"^hl7\.listeners\.ris\.tls: .*authority\.pem"):
        Files(tmp_path, keys.server, authority).read()
