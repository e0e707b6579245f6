"""The container files agree with each other, with the tree and with the settings."""

import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from json import loads
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SITES = ("clinic", "hospital")
REQUIRED = re.compile(r"\$\{\w+:\?[^}]+\}")  # compose refuses to start without it

Instruction = tuple[str, str]


def _dockerfile() -> list[Instruction]:
    """Each instruction and its arguments, continued lines joined."""
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [
        (line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line and not line.startswith("#")
    ]


def _last(name: str) -> str:
    return [arguments for instruction, arguments in _dockerfile() if instruction == name][-1]


def _compose(site: str) -> dict[str, Any]:
    content = yaml.safe_load((DOCKER / f"compose.{site}.yaml").read_text())
    assert isinstance(content, dict)
    return content


def _environment(site: str) -> dict[str, str]:
    """What the gateway's container is given, with every secret chosen."""
    given = _compose(site)["services"]["gateway"].get("environment", {})
    return {name: REQUIRED.sub("chosen", value) for name, value in given.items()}


def _listening(site: str) -> set[int]:
    """Every port that the example configuration opens."""
    settings = tomllib.loads((DOCKER / f"gateway.{site}.toml").read_text())
    dicom = settings["dicom"]
    listeners = {listener["port"] for listener in settings["hl7"]["listeners"].values()}
    return {settings["http"]["port"], dicom["worklist_port"], dicom["storage_port"], *listeners}


def test_every_file_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {
        source
        for instruction, arguments in _dockerfile()
        if instruction in {"COPY", "ADD"} and "--from=" not in arguments
        for source in arguments.split()[:-1]
    }
    assert sources == kept
    assert [source for source in sorted(sources) if not (ROOT / source).exists()] == []


def test_the_image_does_not_run_as_root() -> None:
    names = [name for name, _ in _dockerfile()]
    last_stage = len(names) - 1 - names[::-1].index("FROM")
    assert "USER" in names[last_stage:]
    assert _last("USER") not in {"root", "0"}


def test_the_image_serves_the_configuration_that_compose_puts_there() -> None:
    assert loads(_last("ENTRYPOINT")) == ["gateway"]
    assert loads(_last("CMD")) == ["serve", "--config", "/etc/gateway/gateway.toml"]
    assert _last("STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("site", SITES)
def test_compose_opens_the_ports_that_the_gateway_listens_on(site: str) -> None:
    published = {int(port.split(":")[1]) for port in _compose(site)["services"]["gateway"]["ports"]}
    exposed = {int(port) for port in _last("EXPOSE").split()}
    assert published == exposed == _listening(site)


@pytest.mark.parametrize("site", SITES)
def test_compose_mounts_what_exists_and_keeps_the_rest_read_only(site: str) -> None:
    gateway = _compose(site)["services"]["gateway"]
    mounts = dict(volume.split(":")[:2] for volume in gateway["volumes"])
    assert mounts.pop("gateway") == _last("VOLUME") == _last("WORKDIR")
    assert mounts == {
        f"./gateway.{site}.toml": "/etc/gateway/gateway.toml",
        "../mappings": "/etc/gateway/mappings",
    }
    assert all((DOCKER / source).exists() for source in mounts)
    assert gateway["read_only"] is True
    assert (DOCKER / gateway["build"]["context"]).resolve() == ROOT
    assert (ROOT / gateway["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("site", SITES)
def test_every_volume_named_is_declared(site: str) -> None:
    compose = _compose(site)
    volumes = [volume for service in compose["services"].values() for volume in service["volumes"]]
    named = {volume.split(":")[0] for volume in volumes if not volume.startswith(".")}
    assert named == compose["volumes"].keys()


def test_the_hospital_has_no_default_secret() -> None:
    services = _compose("hospital")["services"].values()
    values = {name: value for service in services for name, value in service["environment"].items()}
    secrets = {name: value for name, value in values.items() if re.search("PASSWORD|BEARER|SECRET", name)}
    assert secrets.keys() >= {"PGPASSWORD", "POSTGRES_PASSWORD"}
    assert [name for name, value in secrets.items() if not REQUIRED.fullmatch(value)] == []


def test_the_hospital_waits_for_its_database() -> None:
    services = _compose("hospital")["services"]
    assert services["gateway"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "pg_isready" in services["database"]["healthcheck"]["test"]
    assert services["database"]["image"] == "postgres:16"
    assert "ports" not in services["database"]


@pytest.mark.parametrize("site", SITES)
def test_the_example_configuration_loads(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.settings import load

    for name, value in _environment(site).items():
        monkeypatch.setenv(name, value)
    settings = load(DOCKER / f"gateway.{site}.toml")
    durable = Path(_last("VOLUME"))
    assert settings.store.files.is_relative_to(durable)
    assert settings.log.file.is_relative_to(durable)
    assert settings.mappings.folder == Path("/etc/gateway/mappings")
    assert settings.worklist.release == "manual"


def test_the_hospital_refuses_an_ehr_without_a_token() -> None:
    from gateway.model.errors import Invalid
    from gateway.settings import load

    with pytest.raises(Invalid, match=r"fhir\.sources\.ehr\.auth"):
        load(DOCKER / "gateway.hospital.toml")


@contextmanager
def _web_server(status: int) -> Iterator[int]:
    """The port of a server that answers /healthz with the status, and 404 elsewhere."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_well_from_ill(status: int, is_healthy: bool, tmp_path: Path) -> None:
    with _web_server(status) as port:
        assert _is_healthy(tmp_path, f"[http]\nport = {port}\n") is is_healthy


def test_nobody_answering_is_ill(tmp_path: Path) -> None:
    with _web_server(200) as port:
        pass
    assert not _is_healthy(tmp_path, f"[http]\nport = {port}\n")


def test_the_health_check_follows_the_environment_and_needs_no_file(tmp_path: Path) -> None:
    with _web_server(200) as port:
        given = {"GATEWAY_HTTP__PORT": str(port)}
        assert _is_healthy(tmp_path, "[http]\nport = 1\n", **given)
        assert _is_healthy(tmp_path, None, **given)
        assert not _is_healthy(tmp_path, None, **given, GATEWAY_HTTP__TLS__KEY="a.key")


def _is_healthy(folder: Path, config: str | None, **environment: str) -> bool:
    """What the image's command says of a gateway with that configuration."""
    file = folder / "gateway.toml"
    file.unlink(missing_ok=True)
    if config is not None:
        file.write_text(config)
    command = loads(_last("HEALTHCHECK").partition("CMD")[2])
    assert command[0] == "python"
    assert command[1] in _copied()
    assert command[2] == loads(_last("CMD"))[-1]
    asked = [sys.executable, str(ROOT / _copied()[command[1]]), str(file)]
    return subprocess.run(asked, check=False, env={**os.environ, **environment}).returncode == 0


def _copied() -> dict[str, str]:
    """What of the tree is where in the image."""
    pairs = [
        arguments.split()
        for name, arguments in _dockerfile()
        if name == "COPY" and "--from=" not in arguments
    ]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
