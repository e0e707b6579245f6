"""What must hold of the tree as a whole."""

import ast
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "gateway").rglob("*.py"))

# Spelt in parts, so that this file does not hold what it forbids.
REGISTRIES = tuple(
    ".".join(parts).encode()
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
    )
)
MACHINE_PATH = re.compile(rb"(?<![\w.~/-])/(?:wo" + rb"rk|ro" + rb"ot)/")


def _committed() -> list[Path]:
    """Every file that is, or would be, committed. Without git: all that .gitignore does not name."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            return [
                path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()
            ]
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines())]
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(fnmatch(part, name) for part in path.relative_to(ROOT).parts for name in ignored)
    ]


def _pins(file: str) -> dict[str, str]:
    """Name to version; every line must be of the form name==version."""
    pins = {}
    for line in (ROOT / file).read_text().splitlines():
        pin = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line)
        assert pin, f"{file}: {line}"
        pins[pin[1]] = pin[2]
    return pins


def _names(requirements: list[str]) -> set[str]:
    """Names as a requirements file spells them, with `name-extra` for an extra of a compiled package."""
    names = set()
    for requirement in requirements:
        parts = re.match(r"([\w.-]+)(?:\[(\w+)\])?", requirement)
        assert parts, requirement
        name = re.sub(r"[-_.]+", "-", parts[1]).lower()
        names |= {name, f"{name}-{parts[2]}"} if parts[2] else {name}
    return names


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert _names(project["project"]["dependencies"]) <= _pins("requirements.txt").keys()
    assert _names(project["project"]["optional-dependencies"]["dev"]) <= _pins("requirements-dev.txt").keys()
    assert _names(project["build-system"]["requires"]) <= _pins("requirements.txt").keys()


def test_tests_run_on_the_versions_that_are_shipped() -> None:
    assert _pins("requirements.txt").items() <= _pins("requirements-dev.txt").items()


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    faults = []
    for path in _committed():
        content = path.read_bytes()
        found = [host.decode() for host in REGISTRIES if host in content]
        found += [match[0].decode() for match in MACHINE_PATH.finditer(content)]
        faults += [f"{path.relative_to(ROOT)}: {text}" for text in found]
    assert faults == []


@pytest.mark.parametrize("text", [b"cd /wo" + b"rk/main", b'"/ro' + b'ot/x"', b"=/wo" + b"rk/"])
def test_a_path_of_one_machine_is_recognised(text: bytes) -> None:
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", [b"docs/wo" + b"rk/", b"//wo" + b"rk/", b"/network/", b"/rooted/"])
def test_an_ordinary_path_is_left_alone(text: bytes) -> None:
    assert not MACHINE_PATH.search(text)


def test_no_module_is_over_400_lines() -> None:
    long = [str(path.relative_to(ROOT)) for path in MODULES if len(path.read_bytes().splitlines()) > 400]
    assert long == []


def test_no_function_is_over_60_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= 60
    ]
    assert long == []
