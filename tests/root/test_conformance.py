"""The conformance statement is what the gateway does with the defaults."""

from pathlib import Path

from gateway.assembly import conformance_facts
from gateway.dicom.conformance import statement
from gateway.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_page_is_what_the_command_prints_with_the_defaults() -> None:
    assert PAGE.read_text(encoding="utf-8") == statement(conformance_facts(Settings()))


def test_the_statement_tells_what_is_configured() -> None:
    dicom = {
        "ae_title": "GW",
        "only_known": True,
        "check_called_ae": True,
        "max_object_megabytes": 100,
        "tls": {"certificate": "a.pem", "key": "a.key", "client_authorities": "ca.pem", "port": 2763},
    }
    told = statement(conformance_facts(Settings.model_validate({"dicom": dicom})))
    assert "| AE title | `GW` |" in told
    assert "| port for TLS | 2763 |" in told
    assert "| an object | 100 MB |" in told
    assert "only the machines and peers that are configured, calling it `GW`" in told
    assert "must show a certificate" in told
    assert "ECDHE-RSA-AES256-GCM-SHA384" in told
