"""The whole gateway with [http.tls]: who gets in with which certificate, and what browsers are told."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import launcher
from gateway.app import Gateway
from gateway.flow import admit
from gateway.model.user import Role
from gateway.settings import Settings
from tests.authority import Authority, Owner

ROOT = Path(__file__).parents[2]
ORDER = (ROOT / "fixtures" / "fhir-wire" / "contained.json").read_bytes()
PATIENCE_S = 20.0
BEARER = {"Authorization": "Bearer secret"}
PASSWORD = "correct horse battery"

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A gateway by TLS, and everybody's certificates."""

    gateway: Gateway
    url: str
    ca: Owner
    ehr: Owner
    ris: Owner
    stranger: Owner

    def client(self, owner: Owner | None = None) -> httpx.Client:
        """Somebody who trusts the gateway's authority and shows that certificate, if any."""
        context = ssl.create_default_context(cafile=str(self.ca.certificate))
        if owner is not None:
            context.load_cert_chain(owner.certificate, owner.key)
        return httpx.Client(base_url=self.url, verify=context, timeout=PATIENCE_S)

    def push(
        self, source: str, owner: Owner | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer to an order of whoever shows that certificate."""
        with self.client(owner) as client:
            return client.post(f"/fhir/{source}", content=ORDER, headers=headers)


def _fingerprint(owner: Owner) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(owner.certificate.read_text())).hexdigest()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def _settings(folder: Path, port: int, **more: Any) -> dict[str, Any]:
    (folder / "images").mkdir()
    return {
        "store": {"url": f"sqlite:///{folder}/gateway.db", "files": str(folder / "images")},
        "mappings": {"folder": str(ROOT / "mappings")},
        "http": {"bind": "127.0.0.1", "port": port, **more},
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, keys = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("keys")
    authority, elsewhere = Authority(keys, "ca"), Authority(keys, "elsewhere")
    server, ehr = authority.sign("server", "/CN=gateway"), authority.sign("ehr", "/O=Hospital/CN=ehr")
    port, known = _free_port(), _fingerprint(ehr)
    tls = {"certificate": server.certificate, "key": server.key, "client_ca": authority.itself.certificate}
    proxied = {"header": "X-Cert", "fingerprints": [known]}
    settings = _settings(folder, port, tls=tls) | {
        "fhir": {
            "sources": {
                "named": {"auth": {"mtls": {"subjects": ["CN=ehr,O=Hospital"]}}},
                "printed": {"auth": {"mtls": {"fingerprints": [known]}, "bearer": "secret"}},
                "proxied": {"auth": {"mtls": {**proxied, "proxies": ["10.0.0.1"]}}},
                "beside": {"auth": {"mtls": {**proxied, "proxies": ["127.0.0.1"]}}},
            }
        }
    }
    with Gateway(Settings.model_validate(settings), only=["http"]) as gateway:
        admit.add_user(gateway.ports, "anna", Role.ADMIN, PASSWORD, actor="test")
        yield House(
            gateway=gateway,
            url=f"https://127.0.0.1:{port}",
            ca=authority.itself,
            ehr=ehr,
            ris=authority.sign("ris", "/O=Hospital/CN=ris"),
            stranger=elsewhere.sign("stranger", "/O=Hospital/CN=ehr"),
        )


def test_the_certificate_of_the_connection_lets_its_owner_in(house: House) -> None:
    assert house.push("named", house.ehr).status_code == 200


def test_another_certificate_of_the_same_authority_does_not(house: House) -> None:
    assert house.push("named", house.ris).status_code == 401


def test_who_shows_none_is_refused_as_by_any_other_proof(house: House) -> None:
    answer = house.push("named")
    assert (answer.status_code, answer.json()["resourceType"]) == (401, "OperationOutcome")


def test_a_certificate_of_another_authority_gets_no_connection(house: House) -> None:
    with pytest.raises(httpx.TransportError):
        house.push("named", house.stranger)


def test_proofs_beside_a_certificate_must_hold_too(house: House) -> None:
    assert house.push("printed", house.ehr, BEARER).status_code == 200
    assert house.push("printed", house.ehr).status_code == 401
    assert house.push("printed", headers=BEARER).status_code == 401


@pytest.mark.parametrize("source", ["named", "printed", "proxied"])
def test_a_client_that_writes_the_header_itself_is_not_believed(house: House, source: str) -> None:
    forged = {"X-Cert": _fingerprint(house.ehr), **BEARER}
    assert house.push(source, headers=forged).status_code == 401
    assert house.push(source, house.ris, headers=forged).status_code == 401


def test_nor_one_that_says_it_speaks_for_a_proxy(house: House) -> None:
    forged = {"X-Cert": _fingerprint(house.ehr), "X-Forwarded-For": "10.0.0.1"}
    assert house.push("proxied", headers=forged).status_code == 401


def test_a_proxy_of_ours_is_believed_whomever_it_speaks_for(house: House) -> None:
    told = {"X-Cert": _fingerprint(house.ehr), "X-Forwarded-For": "192.0.2.7"}
    assert house.push("beside", headers=told).status_code == 200


def test_the_owner_needs_no_proxy_where_one_may_speak_for_him(house: House) -> None:
    assert house.push("proxied", house.ehr).status_code == 200


def test_the_capability_statement_tells_an_address_by_https(house: House) -> None:
    with house.client() as client:
        statement = client.get("/fhir/named/metadata").json()
    assert statement["implementation"]["url"] == f"{house.url}/fhir/named"


def test_browsers_get_a_secure_cookie_and_are_told_to_stay_with_tls(house: House) -> None:
    with house.client() as client:
        answer = client.post("/login", data={"name": "anna", "password": PASSWORD})
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith("__Host-gateway=")
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert client.get("/").status_code == 200
        assert client.get("/dicom-web/studies").status_code == 204


def test_an_ending_certificate_is_told_on_the_page(house: House) -> None:
    with house.client() as client:
        client.post("/login", data={"name": "anna", "password": PASSWORD})
        told = client.get("/readyz").json()["warnings"]
    assert any(one.startswith("http.tls.certificate: the certificate expires on ") for one in told)


def test_without_tls_nothing_is_said_of_it(tmp_path: Path) -> None:
    port = _free_port()
    settings = Settings.model_validate(_settings(tmp_path, port))
    with Gateway(settings, only=["http"]) as gateway:
        admit.add_user(gateway.ports, "anna", Role.ADMIN, PASSWORD, actor="test")
        answer = httpx.post(f"http://127.0.0.1:{port}/login", data={"name": "anna", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("gateway=")
    assert "Secure" not in answer.headers["set-cookie"]
    assert "strict-transport-security" not in answer.headers


def test_the_operator_sees_https_and_finds_it_alive(tmp_path: Path, house: House) -> None:
    port, config = _free_port(), tmp_path / "gateway.toml"
    tls = house.gateway.settings.http.tls
    assert tls is not None
    config.write_text(
        f'[store]\nurl = "sqlite:///{tmp_path}/g.db"\nfiles = "{tmp_path}"\n'
        f'[http]\nbind = "127.0.0.1"\nport = {port}\n'
        f'[http.tls]\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
        f'[mappings]\nfolder = "{ROOT / "mappings"}"\n[log]\nfile = "{tmp_path}/gateway.log"\n'
    )
    page = f"https://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "gateway.cli", "serve", "--only", "http", "--config", str(config)]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + 60
        while not launcher.is_ready(page):
            assert serving.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        healthy = [sys.executable, str(ROOT / "docker" / "healthy.py"), str(config)]
        assert subprocess.run(healthy, check=False).returncode == 0
    finally:
        serving.send_signal(signal.SIGTERM)
        said, _ = serving.communicate(timeout=60)
    assert page in said
    asked = [sys.executable, "-m", "gateway.cli", "check", "--config", str(config)]
    checked = subprocess.run(asked, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert page in checked.stdout
    assert "warning  http.tls.certificate: the certificate expires on" in checked.stdout
