"""Contexts follow their files."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.certificates import CertificateFiles, client_contexts, expiry, server_contexts
from gateway.model.errors import Invalid


def _make(folder: Path, name: str, days: int = 2) -> None:
    words = ["req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", str(days), "-subj", f"/CN={name}"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
    subprocess.run(["openssl", *words, *files], cwd=folder, check=True, capture_output=True)


def _files(folder: Path) -> CertificateFiles:
    return CertificateFiles(certificate=folder / "a.pem", key=folder / "a.key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    _make(tmp_path, "a")
    return tmp_path


def test_the_context_is_made_anew_only_when_a_file_changed(folder: Path) -> None:
    contexts = server_contexts(_files(folder))
    first = contexts()
    assert contexts() is first
    _make(folder, "b")
    for ending in ("pem", "key"):
        (folder / f"b.{ending}").replace(folder / f"a.{ending}")
    assert contexts() is not first


def test_a_faulty_file_leaves_the_last_good_context(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    contexts = server_contexts(_files(folder))
    first = contexts()
    (folder / "a.pem").write_text("no certificate", encoding="ascii")
    assert contexts() is first
    assert "certificate.unusable" in caplog.text


def test_files_that_cannot_be_used_are_refused_at_the_start(folder: Path) -> None:
    (folder / "a.pem").write_text("no certificate", encoding="ascii")
    with pytest.raises(Invalid, match=r"a\.key: not a PEM certificate with its own key"):
        server_contexts(_files(folder))
    with pytest.raises(Invalid, match=r"^http\.tls: .*absent\.pem cannot be read: No such file"):
        client_contexts(CertificateFiles(authorities=folder / "absent.pem", name="http.tls"))


def test_a_fault_names_the_file_that_is_faulty(folder: Path) -> None:
    (folder / "ca.pem").write_text("nobody", encoding="ascii")
    with pytest.raises(Invalid, match=r"ca\.pem: not PEM certificates"):
        server_contexts(
            CertificateFiles(
                certificate=folder / "a.pem", key=folder / "a.key", authorities=folder / "ca.pem"
            )
        )
    (folder / "a.key").unlink()
    with pytest.raises(Invalid, match=r"a\.key cannot be read"):
        server_contexts(_files(folder))


def test_the_end_of_a_certificate_is_that_of_the_first_one_to_end(folder: Path) -> None:
    now = datetime.now(UTC)
    assert timedelta(days=1) < expiry(folder / "a.pem") - now <= timedelta(days=2)
    _make(folder, "b", days=40)
    chain = folder / "chain.pem"
    chain.write_bytes((folder / "b.pem").read_bytes() + (folder / "a.pem").read_bytes())
    assert expiry(chain) == expiry(folder / "a.pem")
    with pytest.raises(Invalid, match="no PEM certificate"):
        expiry(folder / "a.key")
    with pytest.raises(Invalid, match="cannot be read"):
        expiry(folder / "absent.pem")
