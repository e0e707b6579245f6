"""The HTTP port: answers leave at once, and by TLS each request tells whose certificate its connection showed."""

import asyncio
import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.certificates import CertificateFiles, server_contexts
from gateway.http_port import make_server, open_port
from gateway.loop import run_until_stopped
from gateway.model.connection import STATE, Connection
from tests.authority import Authority, Owner

PATIENCE_S = 20.0

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Everybody's certificates."""

    ca: Owner
    elsewhere: Owner
    server: Owner
    renewed: Owner
    ehr: Owner
    stranger: Owner


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    authority, elsewhere = Authority(folder, "ca"), Authority(folder, "elsewhere")
    return Keys(
        ca=authority.itself,
        elsewhere=elsewhere.itself,
        server=authority.sign("server", "/CN=gateway"),
        renewed=authority.sign("renewed", "/CN=gateway-2027"),
        ehr=authority.sign("ehr", "/O=Hospital/CN=ehr"),
        stranger=elsewhere.sign("stranger", "/O=Hospital/CN=ehr"),
    )


@pytest.fixture
def files(keys: Keys, tmp_path: Path) -> CertificateFiles:
    """Files in use, which may be exchanged."""
    return CertificateFiles(
        certificate=_copy(keys.server.certificate, tmp_path / "in-use.pem"),
        key=_copy(keys.server.key, tmp_path / "in-use.key"),
        authorities=_copy(keys.ca.certificate, tmp_path / "in-use-ca.pem"),
    )


def _copy(source: Path, target: Path) -> Path:
    fresh = target.with_suffix(".new")
    fresh.write_bytes(source.read_bytes())
    return fresh.replace(target)


Serve = Callable[[CertificateFiles | None], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that tell what they know of a connection; the port of each."""
    with ExitStack() as running:

        def start(files: CertificateFiles | None) -> int:
            contexts = server_contexts(files, may_show_none=True) if files else None
            server = make_server(Starlette(routes=[Route("/", _told)]), contexts)
            opened = open_port("127.0.0.1", 0)
            port = int(opened.getsockname()[1])
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=run_until_stopped, args=(loop,))
            thread.start()
            done = asyncio.run_coroutine_threadsafe(server.serve(sockets=[opened]), loop)

            def stop() -> None:
                server.should_exit = True
                done.result(PATIENCE_S)
                loop.call_soon_threadsafe(loop.stop)
                thread.join(PATIENCE_S)
                loop.close()

            running.callback(stop)
            return port

        yield start


async def _told(request: Request) -> JSONResponse:
    connection: Connection = getattr(request.state, STATE)
    shown = connection.certificate
    return JSONResponse(
        {
            "scheme": request.url.scheme,
            "address": connection.address,
            "client": request.client.host if request.client else "",
            "subject": sorted(map(list, shown.subject)) if shown else None,
            "fingerprint": shown.fingerprint if shown else None,
        }
    )


def _context(keys: Keys, owner: Owner | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(keys.ca.certificate))
    if owner is not None:
        context.load_cert_chain(owner.certificate, owner.key)
    return context


def _asked(
    port: int, keys: Keys, owner: Owner | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    with httpx.Client(verify=_context(keys, owner), timeout=PATIENCE_S) as client:
        return client.get(f"https://127.0.0.1:{port}/", headers=headers)


def _served_by(port: int, keys: Keys) -> str:
    """The common name in the certificate that the server shows."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
        _context(keys).wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        names = dict(pair[0] for pair in secured.getpeercert()["subject"])  # type: ignore[index,misc]
        return str(names["commonName"])


def _fingerprint(owner: Owner) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(owner.certificate.read_text())).hexdigest()


def test_connections_do_not_hold_back_small_answers() -> None:
    with open_port("127.0.0.1", 0) as opened, socket.create_connection(opened.getsockname()):
        connection, _ = opened.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_plain_connection_tells_its_address_whatever_a_header_says(serve: Serve) -> None:
    port = serve(None)
    told = httpx.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "192.0.2.7"}).json()
    assert told["address"] == "127.0.0.1"
    assert (told["client"], told["scheme"], told["fingerprint"]) == ("192.0.2.7", "http", None)


@needs_openssl
def test_a_request_tells_the_certificate_of_its_connection(
    serve: Serve, keys: Keys, files: CertificateFiles
) -> None:
    told = _asked(serve(files), keys, keys.ehr).json()
    assert told["subject"] == [["commonName", "ehr"], ["organizationName", "Hospital"]]
    assert told["fingerprint"] == _fingerprint(keys.ehr)
    assert (told["scheme"], told["address"]) == ("https", "127.0.0.1")


@needs_openssl
def test_every_request_of_a_connection_tells_it(serve: Serve, keys: Keys, files: CertificateFiles) -> None:
    port = serve(files)
    with httpx.Client(verify=_context(keys, keys.ehr), timeout=PATIENCE_S) as client:
        told = [client.get(f"https://127.0.0.1:{port}/").json()["fingerprint"] for _ in range(3)]
    assert told == [_fingerprint(keys.ehr)] * 3


@needs_openssl
def test_who_has_no_certificate_is_served_and_tells_none(
    serve: Serve, keys: Keys, files: CertificateFiles
) -> None:
    assert _asked(serve(files), keys).json()["subject"] is None


@needs_openssl
def test_a_certificate_of_another_authority_is_turned_away_and_the_log_says_why(
    serve: Serve, keys: Keys, files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port = serve(files)
    with pytest.raises(httpx.TransportError):
        _asked(port, keys, keys.stranger)
    assert _asked(port, keys).status_code == 200
    assert [r.__dict__["reason"] for r in caplog.records if r.msg == "http.turned_away"] == [
        "CERTIFICATE_VERIFY_FAILED"
    ]
    assert not any(record.exc_info for record in caplog.records)


@needs_openssl
def test_without_an_authority_no_certificate_is_asked_for(
    serve: Serve, keys: Keys, files: CertificateFiles
) -> None:
    port = serve(CertificateFiles(certificate=files.certificate, key=files.key))
    assert _asked(port, keys, keys.stranger).json()["fingerprint"] is None


@needs_openssl
def test_plain_http_on_the_tls_port_is_closed_without_an_answer(
    serve: Serve, keys: Keys, files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port = serve(files)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S)
    assert _asked(port, keys).status_code == 200
    assert [r.__dict__["reason"] for r in caplog.records if r.msg == "http.turned_away"] == ["HTTP_REQUEST"]


@needs_openssl
def test_a_renewed_certificate_counts_for_new_connections_and_open_ones_stay(
    serve: Serve, keys: Keys, files: CertificateFiles
) -> None:
    port = serve(files)
    assert files.certificate is not None
    assert files.key is not None
    with httpx.Client(verify=_context(keys), timeout=PATIENCE_S) as before:
        assert before.get(f"https://127.0.0.1:{port}/").status_code == 200
        _copy(keys.renewed.certificate, files.certificate)
        _copy(keys.renewed.key, files.key)
        assert _served_by(port, keys) == "gateway-2027"
        assert before.get(f"https://127.0.0.1:{port}/").status_code == 200
    files.certificate.write_text("no certificate")
    assert _served_by(port, keys) == "gateway-2027"


@needs_openssl
def test_a_session_from_before_another_authority_is_not_resumed(
    serve: Serve, keys: Keys, files: CertificateFiles
) -> None:
    port = serve(files)
    assert files.authorities is not None
    context = _context(keys, keys.ehr)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # there the session is known when the handshake ends
    with _connected(port, context) as first:
        session = first.session
    with _connected(port, context, session) as again:
        assert again.session_reused
    _copy(keys.elsewhere.certificate, files.authorities)
    with pytest.raises(ssl.SSLError):
        _connected(port, context, session)


def _connected(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)
    except OSError:
        plain.close()
        raise


@needs_openssl
def test_a_silent_handshake_does_not_hold_up_the_end(
    serve: Serve, keys: Keys, files: CertificateFiles
) -> None:
    port = serve(files)
    silent = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    with silent:
        assert _asked(port, keys).status_code == 200  # by now the silent one is inside


@pytest.mark.skipif(not socket.has_ipv6, reason="this computer has no IPv6")
def test_an_address_of_ipv6_can_be_bound() -> None:
    with open_port("::1", 0) as opened:
        assert opened.getsockname()[0] == "::1"
