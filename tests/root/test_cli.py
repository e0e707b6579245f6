"""The command line: each command is there, and reads no more than it needs."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gateway.cli import COMMANDS, app

HEAVY = ("alembic", "jinja2", "numpy", "pydicom", "pynetdicom", "starlette", "uvicorn")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_what_it_is_for(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert f"Usage: root {name}" in shown.stdout
    assert "completion" not in shown.stdout


def test_the_help_names_every_command_and_reads_none() -> None:
    script = (
        "import atexit, sys; from gateway import cli;"
        "atexit.register(lambda: print(sorted(sys.modules))); cli.main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    shown, _, read = done.stdout.rpartition("[")
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in shown
        assert text in shown
    assert "'sqlalchemy'" not in read
    assert not [name for name in COMMANDS if f"'gateway.commands.{name}'" in read]


@pytest.mark.parametrize("name", ["orders", "deliveries", "user", "token", "merges", "db"])
def test_what_only_asks_the_database_reads_neither_images_nor_pages_nor_migrations(name: str) -> None:
    script = (
        "import sys; from gateway.cli import COMMANDS; from importlib import import_module;"
        f"import_module('gateway.commands.' + COMMANDS['{name}'][0]);"
        f"print([one for one in {HEAVY} if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_a_misspelt_command_is_told_what_was_meant() -> None:
    shown = CliRunner().invoke(app, ["order"])
    assert (shown.exit_code, "Did you mean 'orders'?" in shown.output) == (2, True)
