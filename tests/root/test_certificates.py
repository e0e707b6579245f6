"""Contexts follow their files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.certificates import CertificateFiles, client_contexts, server_contexts
from gateway.model.errors import Invalid


def _make(folder: Path, name: str) -> None:
    words = ["req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2", "-subj", f"/CN={name}"]
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
    with pytest.raises(Invalid, match=r"a\.pem: not a usable certificate"):
        server_contexts(_files(folder))
    with pytest.raises(Invalid, match="not a usable certificate"):
        client_contexts(CertificateFiles(authorities=folder / "absent.pem"))
