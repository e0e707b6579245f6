import re
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.destinations import fhir_destinations
from gateway.fhir.auth import is_admitted
from gateway.fhir.pushing import Attempt
from gateway.fhir_assembly import fhir_sources
from gateway.flow.ports import Release
from gateway.model.connection import Connection
from gateway.model.errors import Invalid
from gateway.proof_sections import MutualTls, Proof
from gateway.sections import Http
from gateway.settings import Settings, load

# Every key of the contract other tools are written against.
CONTRACT = """
[site]
name = "General Hospital"
timezone = "Europe/London"
[store]
url = "sqlite:///var/gateway.db"
files = "var/images"
[http]
bind = "0.0.0.0"
port = 5000
[dicom]
ae_title = "STORESCP"
worklist_port = 11112
storage_port = 11113
[worklist]
release = "manual"
[mappings]
folder = "mappings"
[hl7.listeners.ris]
port = 2575
[[stations]]
ae_title = "US1"
name = "Ultrasound 1"
modality = "US"
[fhir.sources.ehr]
auth = { bearer = "secret" }
base_url = "https://ehr.example/fhir"
release = "R4"
[fhir.destinations.ehr]
url = "https://ehr.example/fhir"
release = "R4"
write = "transaction"
auth = { bearer = "secret" }
[study]
quiet_seconds = 60
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_contracts_example_is_understood(tmp_path: Path) -> None:
    settings = load(_file(tmp_path, CONTRACT))
    assert settings.site.name == "General Hospital"
    assert settings.hl7.listeners["ris"].port == 2575
    assert settings.stations[0].ae_title == "US1"
    assert settings.fhir.destinations["ehr"].auth.bearer == "secret"
    assert settings.worklist.release is Release.MANUAL


def test_without_a_file_the_first_users_machines_find_what_they_are_set_to() -> None:
    settings = load()
    assert (settings.http.port, settings.dicom.worklist_port, settings.dicom.storage_port) == (
        5000,
        11112,
        11113,
    )
    assert settings.dicom.ae_title == "STORESCP"


def test_a_named_file_wins_then_the_environments_then_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gateway.toml").write_text("[http]\nport = 1")
    assert load().http.port == 1
    (tmp_path / "second.toml").write_text("[http]\nport = 2")
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "second.toml"))
    assert load().http.port == 2
    assert load(_file(tmp_path, "[http]\nport = 3")).http.port == 3


def test_the_environment_overrides_single_keys_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_HTTP__PORT", "7")
    settings = load(_file(tmp_path, '[http]\nport = 3\nbind = "127.0.0.1"'))
    assert (settings.http.port, settings.http.bind) == (7, "127.0.0.1")


def test_every_fault_is_reported_at_once_with_file_and_key(tmp_path: Path) -> None:
    text = '[site]\ntimezone = "Mars"\n[htp]\nport = 1\n[[stations]]\nae_title = "far too long for one"'
    with pytest.raises(Invalid) as raised:
        load(_file(tmp_path, text))
    assert [fault.split(": ")[1:2] for fault in raised.value.faults] == [
        ["site.timezone"], ["stations.0.ae_title"], ["htp"],
    ]  # fmt: skip
    assert all("some.toml" in fault for fault in raised.value.faults)


def test_a_variable_that_is_no_list_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_STATIONS", "US1-secret")
    with pytest.raises(Invalid, match=r"environment: .*stations") as told:
        load()
    assert "secret" not in str(told.value)


def test_a_fault_never_repeats_a_secret(tmp_path: Path) -> None:
    text = '[fhir.sources.ehr]\nauth = { bearer = "hush", basic = ["a", "hush"] }'
    with pytest.raises(Invalid) as raised:
        load(_file(tmp_path, text))
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[fhir.sources.ehr]\n", "fhir.sources.ehr.auth"),
        ('[fhir.sources.ehr]\nauth = { bearer = "" }', "auth"),
        ("[http]\nport = 2575", "http.port and hl7.listeners.ris.port"),
        ('[[stations]]\nae_title = "A"\n[[stations]]\nae_title = "A"', "stands twice"),
        ('[worklist]\nrelease = "sometimes"', "worklist.release"),
        ('[fhir.destinations.e]\nurl = "ehr.example"', "fhir.destinations.e.url"),
        ('[fhir.destinations.e]\nurl = "https://e"\nwrite = "pigeon"', "fhir.destinations.e.write"),
        ("[http]\nport = 70000", "http.port"),
        ("not toml", "not TOML"),
    ],
)
def test_what_cannot_work_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(Invalid, match=named.replace(".", r"\.")):
        load(_file(tmp_path, text))


def test_an_open_webhook_is_allowed_on_this_computer_alone(tmp_path: Path) -> None:
    text = '[http]\nbind = "127.0.0.1"\n[fhir.sources.ehr]\n'
    assert load(_file(tmp_path, text)).fhir.sources["ehr"].auth == ()


def test_no_proof_may_be_written_as_none(tmp_path: Path) -> None:
    text = '[fhir.destinations.e]\nurl = "https://e"\nauth = "none"'
    assert load(_file(tmp_path, text)).fhir.destinations["e"].auth == Proof()


@pytest.mark.parametrize(
    ("auth", "fault"),
    [
        ('{ bearer = "x", basic = ["u", "p"] }', "only one of bearer, basic can be used"),
        ('{ bearer = "" }', "an empty secret protects nothing"),
        ('{ smart_backend = { client_id = "gw", keys = [] } }', "smart_backend.keys"),
        ('{ oauth2 = { client_id = "gw" } }', "client_secret"),
        ('{ oauth2 = { client_id = "gw", client_secret = "s", token_url = "ftp://x" } }', "http://"),
    ],
)
def test_a_proof_that_cannot_work_is_a_fault(tmp_path: Path, auth: str, fault: str) -> None:
    text = f'[fhir.destinations.e]\nurl = "https://e"\nauth = {auth}'
    with pytest.raises(Invalid, match=re.escape(fault)):
        load(_file(tmp_path, text))


@pytest.mark.parametrize(
    ("named", "is_good"), [("", False), (', subject = "1"', True), (', email = "a@b"', True)]
)
def test_a_token_is_let_in_only_for_a_sender_who_is_named(tmp_path: Path, named: str, is_good: bool) -> None:
    """Google signs a token for any audience for whoever asks."""
    oidc = f'{{ issuer = "https://accounts.google.com", audience = "https://gw"{named} }}'
    text = f"[fhir.sources.google]\nauth = {{ oidc = {oidc} }}"
    with nullcontext() if is_good else pytest.raises(Invalid, match="give email or subject"):
        load(_file(tmp_path, text))


def test_a_certificate_goes_with_another_proof(tmp_path: Path) -> None:
    auth = '{ bearer = "x", mtls = { certificate = "own.pem" } }'
    proof = load(_file(tmp_path, f'[fhir.destinations.e]\nurl = "https://e"\nauth = {auth}'))
    assert proof.fhir.destinations["e"].auth.mtls == MutualTls(certificate=Path("own.pem"))


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_HTPP__PORT", "1")
    with pytest.raises(Invalid, match="GATEWAY_HTPP__PORT"):
        load()


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"missing\.toml: cannot be read"):
        load(tmp_path / "missing.toml")


def test_settings_made_in_code_are_checked_alike() -> None:
    with pytest.raises(ValueError, match="same port"):
        Settings(http=Http(port=2575))


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ('allow = ["10.0.0.0/99"]', "hl7.listeners.ris.allow.0: not an address"),
        ('allow_subjects = ["CN=ris"]', "allow_subjects: needs tls.client_ca"),
        ('tls = { certificate = "a" }', "hl7.listeners.ris.tls.key"),
        ('ack = "later"', "hl7.listeners.ris.ack"),
        ('hold_answer = "never"', "hl7.listeners.ris.hold_answer"),
        ('http_auth = { header = ["a", "b"] }', "hl7.listeners.ris.http_auth: a sender proves itself"),
        ("frame_timeout_seconds = 0", "hl7.listeners.ris.frame_timeout_seconds"),
        (
            'fallback_charset = "foo"',
            "hl7.listeners.ris.fallback_charset: no character set that Python knows",
        ),
    ],
)
def test_a_listeners_faults_are_named(tmp_path: Path, keys: str, fault: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(_file(tmp_path, f"[hl7.listeners.ris]\nport = 2575\n{keys}\n"))
    assert fault in str(caught.value)


def test_a_listener_with_everything_is_understood(tmp_path: Path) -> None:
    text = """
[hl7.listeners.ris]
port = 2575
tls = { certificate = "a.pem", key = "a.key", client_ca = "ca.pem" }
allow = ["10.0.0.0/8", "192.0.2.7"]
allow_subjects = ["CN=ris,O=Hospital"]
senders = ["RIS|HOSP"]
processing_ids = ["P"]
versions = ["2.5.1"]
ack = "after-commit"
hold_answer = "error"
http_auth = { bearer = "secret" }
"""
    chosen = load(_file(tmp_path, text)).hl7.listeners["ris"]
    assert (chosen.ack, chosen.hold_answer, chosen.allow) == (
        "after-commit",
        "error",
        ("10.0.0.0/8", "192.0.2.7"),
    )


PRINT = "ab" * 32
TLS = '[http.tls]\ncertificate = "a.pem"\nkey = "a.key"\n'
SHOWN = f'[fhir.sources.ehr]\nauth = {{ mtls = {{ fingerprints = ["{PRINT}"] }} }}\n'
PROXIED = SHOWN.replace("] }", '], header = "X-Cert", proxies = ["127.0.0.1"] }')


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[http.tls]\n", ("http.tls.certificate: ", "http.tls.key: ")),
        (
            TLS + 'authority = "ca.pem"\n[http]\nprot = 1\n',
            ("http.tls.authority: unknown", "http.prot: unknown"),
        ),
        (SHOWN, ("fhir.sources.ehr.auth: mtls needs http.tls.client_ca",)),
        (TLS + SHOWN, ("fhir.sources.ehr.auth: mtls needs http.tls.client_ca",)),
    ],
)
def test_faults_of_tls_on_the_http_port_are_named_together(
    tmp_path: Path, text: str, faults: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid) as raised:
        load(_file(tmp_path, text))
    assert [fault for fault in faults if fault not in str(raised.value)] == []


@pytest.mark.parametrize("text", [TLS, PROXIED, TLS + PROXIED, TLS + 'client_ca = "ca.pem"\n' + SHOWN])
def test_tls_and_certificates_that_can_be_shown_are_understood(tmp_path: Path, text: str) -> None:
    assert (load(_file(tmp_path, text)).http.tls is not None) is (TLS in text)


def test_with_tls_the_page_has_an_address_by_https_and_is_secure() -> None:
    plain = Http()
    secured = Http.model_validate({"port": 5443, "tls": {"certificate": "a.pem", "key": "a.key"}})
    assert (plain.address("192.0.2.5"), plain.is_secure) == ("http://192.0.2.5:5000/", False)
    assert (secured.address("::1"), secured.is_secure) == ("https://[::1]:5443/", True)
    assert Http(secure_cookies=True).is_secure


def test_a_network_that_names_an_address_in_it_is_a_network_for_sources_too(tmp_path: Path) -> None:
    settings = load(_file(tmp_path, '[fhir.sources.ehr]\nauth = { allow = ["10.1.2.3/8"] }\n'))
    source = fhir_sources(settings, lambda: datetime.now(UTC))["ehr"]
    came = Connection(address="10.200.1.1")
    assert is_admitted(source, Attempt(headers={}, peer=came.address, connection=came))


def _destinations(**told: object) -> dict[str, object]:
    return {"destinations": {"ehr": {"url": "https://ehr.example/fhir", **told}}}


def test_where_our_dicomweb_is_must_be_known_before_it_is_told() -> None:
    with pytest.raises(ValueError, match=r"fhir\.destinations\.ehr\.dicomweb: needs http\.public_url"):
        Settings.model_validate({"fhir": _destinations(dicomweb=True)})


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ({}, ""),
        ({"dicomweb": True}, "https://gw.example/dicom-web"),
        ({"dicomweb_url": "https://pacs.example/web/"}, "https://pacs.example/web"),
        ({"dicomweb": True, "dicomweb_url": "https://pacs.example/web"}, "https://pacs.example/web"),
    ],
)
def test_another_place_of_images_wins_over_ours(told: dict[str, object], address: str) -> None:
    settings = Settings.model_validate(
        {"http": {"public_url": "https://gw.example/"}, "fhir": _destinations(**told)}
    )
    assert [one.dicomweb_url for one in fhir_destinations(settings)] == [address]
