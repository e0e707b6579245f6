"""A record system that lets in whoever has a certificate: real TLS on both sides."""

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from gateway.fhir.client import Client
from gateway.fhir.credentials import Certificate
from gateway.fhir.destination import Destination
from gateway.model.delivery import Delivery
from gateway.model.errors import Unavailable
from tests.authority import Authority, Owner

PATIENCE_S = 20.0

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The record system behind TLS, and who may come in."""

    url: str
    ours: Owner
    stranger: Owner


@pytest.fixture
def guarded(ehr: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    (tmp_path / "ca").mkdir()
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path / "ca", "ca"), Authority(tmp_path / "other", "other")
    server = authority.sign("server", "/CN=ehr")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.itself.certificate))  # as if the computer trusted it
    opened = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        ehr, log_config=None, lifespan="off",
        ssl_certfile=server.certificate, ssl_keyfile=server.key,
        ssl_cert_reqs=ssl.CERT_REQUIRED, ssl_ca_certs=str(authority.itself.certificate),
    )  # fmt: skip
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE_S
    while not running.started and time.monotonic() < until:
        time.sleep(0.01)
    address = f"https://127.0.0.1:{opened.getsockname()[1]}{urlsplit(ehr.url).path}"
    yield Guarded(
        url=address,
        ours=authority.sign("gateway", "/CN=gateway"),
        stranger=other.sign("stranger", "/CN=gateway"),
    )
    running.should_exit = True
    thread.join(PATIENCE_S)


def _destination(guarded: Guarded, owner: Owner | None) -> Destination:
    own = Certificate(certificate=owner.certificate, key=owner.key) if owner else None
    return Destination(name="ehr", url=guarded.url, certificate=own)


def test_a_study_reaches_it_with_our_certificate(
    guarded: Guarded, ehr: Any, connect: Callable[..., Client], whole: Callable[..., Delivery]
) -> None:
    connect(_destination(guarded, guarded.ours)).send(whole())
    assert len(ehr.newest("ImagingStudy")) == 1


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_without_it_the_study_waits(
    guarded: Guarded, ehr: Any, connect: Callable[..., Client], whole: Callable[..., Delivery], who: str
) -> None:
    owner = guarded.stranger if who == "stranger" else None
    with pytest.raises(Unavailable):
        connect(_destination(guarded, owner)).send(whole())
    assert ehr.newest("ImagingStudy") == []


def test_a_server_that_nobody_vouches_for_is_told_nothing(
    guarded: Guarded,
    ehr: Any,
    connect: Callable[..., Client],
    whole: Callable[..., Delivery],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable):
        connect(_destination(guarded, guarded.ours)).send(whole())
    assert ehr.newest("ImagingStudy") == []
