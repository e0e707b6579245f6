"""What is said of our own certificates: at the start, by `gateway check` and on the page."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.certificates import expiry
from gateway.checks import check_setup
from gateway.model.errors import Invalid
from gateway.own_certificates import LOOK_EVERY, SERVICES, Endings, certificate_troubles, certificate_warnings
from gateway.settings import Settings
from tests.authority import Authority, Owner
from tests.conftest import FakeClock

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def _pair(owner: Owner) -> dict[str, Any]:
    return {"certificate": str(owner.certificate), "key": str(owner.key)}


def _settings(folder: Path, **sections: Any) -> Settings:
    (folder / "images").mkdir(exist_ok=True)
    store = {"url": f"sqlite:///{folder}/gateway.db", "files": str(folder / "images")}
    return Settings.model_validate({"store": store, **sections})


def _everywhere(owner: Owner) -> dict[str, Any]:
    return {
        "http": {"tls": _pair(owner)},
        "dicom": {"tls": _pair(owner)},
        "hl7": {"listeners": {"ris": {"port": 2575, "tls": _pair(owner)}}},
    }


def test_files_that_are_well_are_no_trouble(authority: Authority, tmp_path: Path) -> None:
    settings = _settings(tmp_path, **_everywhere(authority.sign("a", "/CN=a")))
    expected = {"http.tls": "", "dicom.tls": "", "hl7.listeners.ris.tls": ""}
    assert certificate_troubles(settings, SERVICES) == expected


def test_the_gateway_refuses_to_start_and_names_every_faulty_file(
    authority: Authority, tmp_path: Path
) -> None:
    owner = authority.sign("a", "/CN=a")
    settings = _settings(tmp_path, **_everywhere(owner))
    owner.key.write_text("no key")
    with pytest.raises(Invalid) as raised:
        Gateway(settings)
    lines = str(raised.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "http.tls",
        "dicom.tls",
        "hl7.listeners.ris.tls",
    ]
    with pytest.raises(Invalid) as raised:
        Gateway(settings, only=["dicom"])
    assert str(raised.value).startswith("dicom.tls: ")
    assert not (tmp_path / "gateway.db").exists()


def test_the_check_names_a_faulty_file(authority: Authority, tmp_path: Path) -> None:
    owner = authority.sign("a", "/CN=a")
    owner.certificate.unlink()
    found = check_setup(_settings(tmp_path, http={"tls": _pair(owner)}))
    assert (
        found.troubles["http.tls"]
        == f"http.tls: {owner.certificate} cannot be read: No such file or directory"
    )


def test_a_certificate_that_ends_soon_or_has_ended_is_told(authority: Authority, tmp_path: Path) -> None:
    settings = _settings(tmp_path, **_everywhere(authority.sign("a", "/CN=a", days=40)))
    file = settings.http.tls.certificate if settings.http.tls else tmp_path
    end = expiry(file)
    day = end.date().isoformat()
    assert certificate_warnings(settings, end - timedelta(days=31)) == ()
    assert certificate_warnings(settings, end - timedelta(days=30)) == tuple(
        f"{key}.certificate: the certificate expires on {day}; put a renewed one in the place of its file"
        for key in ("http.tls", "dicom.tls", "hl7.listeners.ris.tls")
    )
    (ended, *_) = certificate_warnings(settings, end)
    assert ended.startswith(f"http.tls.certificate: the certificate expired on {day}; ")


def test_certificates_shown_to_others_are_watched_too(authority: Authority, tmp_path: Path) -> None:
    owner = authority.sign("a", "/CN=a")
    mtls = {"url": "https://ehr.example/fhir", "auth": {"mtls": _pair(owner)}}
    shown = {"tls_certificate": str(owner.certificate), "tls_key": str(owner.key)}
    settings = _settings(
        tmp_path,
        hl7={"destinations": {"ris": {"host": "ris.example", "port": 2576, "tls": True, **shown}}},
        fhir={
            "destinations": {"ehr": mtls},
            "sources": {"lab": {"auth": {"bearer": "x"}, "read_auth": {"mtls": _pair(owner)}}},
        },
    )
    assert [warning.partition(": ")[0] for warning in certificate_warnings(settings, datetime.now(UTC))] == [
        "hl7.destinations.ris.tls_certificate",
        "fhir.destinations.ehr.auth.mtls",
        "fhir.sources.lab.read_auth.mtls",
    ]


def test_the_check_warns_of_it(authority: Authority, tmp_path: Path) -> None:
    settings = _settings(tmp_path, http={"tls": _pair(authority.sign("a", "/CN=a"))})
    found = check_setup(settings)
    assert found.troubles["http.tls"] == ""
    assert [
        one for one in found.warnings if one.startswith("http.tls.certificate: the certificate expires on")
    ]


def test_a_renewed_certificate_ends_the_warning_at_the_next_look(
    authority: Authority, tmp_path: Path, clock: FakeClock
) -> None:
    owner = authority.sign("a", "/CN=a")
    clock.now = datetime.now(UTC)
    endings = Endings(_settings(tmp_path, http={"tls": _pair(owner)}), clock)
    assert len(endings.warnings) == 1
    authority.sign("a", "/CN=a", days=365)
    assert len(endings.warnings) == 1
    clock.advance(seconds=LOOK_EVERY.total_seconds())
    assert not endings.warnings
