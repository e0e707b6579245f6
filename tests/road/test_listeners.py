"""Listeners from outside: the settings, a gateway of its own process, plain sockets and HTTP."""

import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[..., Any]
ORDER = (
    b"MSH|^~\\&|RIS|HOSP|GW|RAD|20261123085500+0000||ORM^O01|CTL1|P|2.5.1|||AL|AL\r"
    b"PID|1||MRN1^^^HOSP^MR||DOE^JANE||19800214|F\r"
    b"ORC|NW|P1|A100||||^^^20261123103000+0000^^R\r"
    b"OBR|1|P1|A100|USABD^Abdomen^L||||||||||||||A100||||||US\r"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def answers(connection: socket.socket, message: bytes, count: int) -> list[bytes]:
    """MSA-1 of the answers to a message."""
    connection.sendall(b"\x0b" + message + b"\x1c\r")
    received = b""
    while received.count(b"\x1c\r") < count:
        chunk = connection.recv(65536)
        assert chunk, "closed before an answer"
        received += chunk
    return [one.split(b"MSA|")[1][:2] for one in received.split(b"\x1c\r")[:count]]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    made, key = folder / "gateway.pem", folder / "gateway.key"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway"
    subprocess.run(
        ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made, key


def test_a_listener_speaks_tls_answers_after_the_commit_and_maps_later(serve: Serve, tmp_path: Path) -> None:
    made, key = certificate(tmp_path)
    port = free_port()
    served = serve(
        f'[hl7.listeners.far]\nport = {port}\nbind = "127.0.0.1"\nack = "after-commit"\n'
        f'allow = ["127.0.0.0/8"]\ntls = {{ certificate = "{made}", key = "{key}" }}\n'
    )
    context = ssl.create_default_context(cafile=str(made))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        assert answers(connection, ORDER, 2) == [b"CA", b"AA"]
    listed = ""
    for _ in range(20):
        listed = served.command("orders", "list", "--json").stdout
        if "A100" in listed:
            break
    assert "A100" in listed


def test_a_message_comes_by_http_and_again_by_mllp_with_the_same_answer(serve: Serve) -> None:
    served = serve()
    asked = urllib.request.Request(
        f"{served.url}/hl7/ris", data=ORDER, headers={"Content-Type": "application/hl7-v2"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        body = answer.read()
    assert [part[:2] for part in body.split(b"MSA|")[1:]] == [b"CA", b"AA"]
    with socket.create_connection(("127.0.0.1", served.hl7), timeout=20) as connection:
        assert answers(connection, ORDER, 2) == [b"CA", b"AA"]
    assert served.command("orders", "list", "--json").stdout.count("A100") == 1
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served.url}/hl7/nobody", data=ORDER, timeout=20)


def test_a_certificate_that_is_not_there_keeps_the_gateway_from_starting(serve: Serve) -> None:
    with pytest.raises(AssertionError, match=r"hl7\.listeners\.far\.tls: no\.pem cannot be read"):
        serve(
            f'[hl7.listeners.far]\nport = {free_port()}\ntls = {{ certificate = "no.pem", key = "no.key" }}\n'
        )
