"""The set-up scripts, each run with only the programs it is given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / ".ci"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder that is the whole PATH: what Debian always has, and neither apt-get nor any peer."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("bash", "cat", "dirname", "env", "grep", "id", "mktemp", "rm", "sh", "tail", "tee"):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


def _add(programs: Path, name: str, script: str) -> Path:
    """Puts a shell script into the folder."""
    path = programs / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _run(programs: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": str(programs)}
    return subprocess.run(
        [SCRIPTS / script, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_make_alone_says_what_can_be_made() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run([make, "-s", "-C", ROOT], capture_output=True, text=True, check=True)
    named = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")}
    assert named == {"run", "demo", "test", "bench", "fuzz", "check", "clean"}


def test_an_old_python_is_refused_in_one_sentence(programs: Path, tmp_path: Path) -> None:
    old = _add(programs, "python3", "exit 1")
    for wanted in ("python3", str(old)):
        done = _run(programs, "venv", str(tmp_path / "venv"), wanted)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "Python 3.11 or later is needed" in done.stderr
        assert not (tmp_path / "venv").exists()


def test_a_newer_python_is_found_beside_an_old_one(programs: Path, tmp_path: Path) -> None:
    _add(programs, "python3", "exit 1")
    _add(programs, "python3.12", f'[ "$1" = -m ] && echo "$@" || exec "{sys.executable}" "$@"')
    done = _run(programs, "venv", str(tmp_path / "a venv"), "python3")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"-m venv {tmp_path}/a venv"


def test_a_python_without_ensurepip_says_which_package_is_missing(programs: Path, tmp_path: Path) -> None:
    _add(programs, "python3", f'[ "$2" = "import ensurepip" ] && exit 1; exec "{sys.executable}" "$@"')
    done = _run(programs, "venv", str(tmp_path / "venv"), "python3")
    assert done.returncode == 1
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f'run "apt-get install {package}" as root' in done.stderr
    assert not (tmp_path / "venv").exists()


def test_missing_peers_are_named_and_nothing_fails(programs: Path) -> None:
    done = _run(programs, "peers", sys.executable)
    assert done.returncode == 0
    for package in ("dcmtk", "chromium", "xvfb"):
        assert f"for want of {package}." in done.stdout


def test_a_failing_apt_is_told_and_nothing_fails(programs: Path) -> None:
    _add(programs, "id", "echo 0")
    _add(programs, "apt-get", "exit 100")
    done = _run(programs, "peers", sys.executable)
    assert done.returncode == 0
    assert "apt-get could not install: dcmtk chromium xvfb" in done.stderr
    assert "for want of dcmtk." in done.stdout


def test_peers_that_are_there_are_not_mentioned(programs: Path) -> None:
    for name in ("findscu", "storescu", "chromium", "Xvfb"):
        _add(programs, name, "exit 0")
    python = _add(programs, "python", "exit 0")
    done = _run(programs, "peers", str(python))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_apt_asks_for_root_where_there_is_none(programs: Path) -> None:
    _add(programs, "id", "echo 1000")
    _add(programs, "apt-get", "exit 0")
    done = _run(programs, "apt", "dcmtk")
    assert done.returncode == 1
    assert done.stderr == "Not installed, as that needs root: apt-get install dcmtk\n"


@pytest.mark.parametrize(
    ("closing", "make_status", "status"),
    [
        ("== 3 passed, 1 skipped in 0.10s ==", 0, 0),
        ("== 1 failed, 2 passed in 0.10s ==", 2, 2),
        ("== no tests ran in 0.10s ==", 2, 2),
        ("== 3 skipped in 0.10s ==", 0, 1),
    ],
)
def test_the_gate_opens_only_when_tests_passed(
    programs: Path, closing: str, make_status: int, status: int
) -> None:
    _add(programs, "make", f'[ "$1" = check ] && exit 0; echo "{closing}"; echo after; exit {make_status}')
    done = _run(programs, "run")
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == closing


def test_the_gate_stays_shut_when_a_check_fails(programs: Path) -> None:
    _add(programs, "make", 'echo "$1"; exit 2')
    done = _run(programs, "run")
    assert done.returncode == 2
    assert done.stdout == "check\n"
