"""The command line. Exit status: 0 done, 1 the thing asked for failed, 2 wrong usage or configuration."""

import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from gateway.commands.terminal import err
from gateway.model.errors import GatewayError, Invalid

# A command's module is read when the command is asked for: all of them together take seconds to read.
COMMANDS = {
    "serve": ("serve", "Run the gateway until it is told to stop."),
    "check": ("check", "Say whether all that the gateway leans on is fit for work."),
    "demo": ("demo", "Play the whole road of an order with simulated parties."),
    "launcher": ("launcher", "Open the desktop window: addresses, START and STOP, the log."),
    "conformance": ("conformance", "Print the DICOM conformance statement."),
    "orders": ("orders", "List, show, send, recall and cancel orders."),
    "messages": ("messages", "List, find and show what senders sent; try it again."),
    "merges": ("merges", "List merges of patients and take them back."),
    "deliveries": ("deliveries", "List and retry what other systems are told."),
    "user": ("users", "Add people, change passwords."),
    "token": ("tokens", "Give programs tokens and take them back."),
    "map": ("modules", "Check, test, explain, compare and draft mapping modules."),
    "db": ("database", "Upgrade and back up the database."),
    "fhir": ("fhir", "FHIR servers and the keys we sign with."),
    "simulate": ("simulate", "Play one of the outside parties."),
}


class Commands(TyperGroup):
    """The commands, each read from its module under `gateway.commands` when it is needed."""

    def __init__(self, **attributes: Any) -> None:
        """As Typer makes it."""
        super().__init__(**attributes)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # what a misspelt name may mean is looked for in them

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        # What is read now stays to the end: to look through it for garbage takes a fifth of the time, and again later.
        gc.disable()
        try:
            read = import_module(f"gateway.commands.{module}")
        finally:
            gc.freeze()
            gc.enable()
        return get_command(read.app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The names and what they are for, without reading a module."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; `--config FILE` may stand before or after the verb."""
    words, config = _without_config(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="gateway", obj=config)
    except Invalid as error:
        _fail(error, 2)
    except GatewayError as error:
        _fail(error, 1)


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="The configuration file; may stand after the verb too.")
    ] = None,
) -> None:
    """The imaging order gateway: orders in, a worklist the receptionist controls, studies out."""
    ctx.obj = (
        config or ctx.obj
    )  # `main` took it out of the words already: the option stands here for the help


def _without_config(words: list[str]) -> tuple[list[str], Path | None]:
    """The words without `--config FILE`, wherever it stands, and the file. Typer refuses a missing name."""
    rest: list[str] = []
    config: Path | None = None
    waiting = iter(words)
    for word in waiting:
        if word.startswith("--config="):
            config = Path(word.removeprefix("--config="))
        elif word == "--config":
            following = next(waiting, None)
            if following is None:
                rest.append(word)
            else:
                config = Path(following)
        else:
            rest.append(word)
    return rest, config


def _fail(error: GatewayError, status: int) -> None:
    for line in str(error).splitlines():
        err.print(f"gateway: {line}", markup=False)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
