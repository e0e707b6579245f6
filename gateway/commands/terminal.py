"""What the commands print to, and what many of them are given: numbers of things, or the word for JSON lines."""

from typing import Annotated

import typer
from rich.console import Console

from gateway.model.errors import NotFound

LARGEST_ID = 2**63 - 1  # of a row, in SQLite and in PostgreSQL
MOST_ROWS = 1_000_000
LAST_PORT = 65535
# What is printed comes from messages and orders: ":x:" and "10:100:20" are no emoji in them.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def read_id(text: str) -> int:
    """The number of a thing. Raises NotFound for one that no row can have."""
    try:
        number = int(text)
    except ValueError:  # Python reads none of more than some thousand digits either
        raise typer.BadParameter("a number is wanted, as the lists show it") from None
    if abs(number) > LARGEST_ID:
        raise NotFound(f"{number}: there is none with that number")
    return number


Id = Annotated[int, typer.Argument(parser=read_id, metavar="ID")]
Ids = Annotated[list[int], typer.Argument(parser=read_id, metavar="ID")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def commands(purpose: str | None = None) -> typer.Typer:
    """Where the commands of a module are put: one alone, or with a `purpose` several, which stand under a name."""
    return typer.Typer(
        help=purpose, no_args_is_help=purpose is not None, add_completion=False, rich_markup_mode=None
    )
