"""What the commands print to, and how they are asked for lines that a program reads."""

from typing import Annotated

import typer
from rich.console import Console

# What is printed comes from messages and orders: ":x:" and "10:100:20" are no emoji in them.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def commands(purpose: str | None = None) -> typer.Typer:
    """Where the commands of a module are put: one alone, or with a `purpose` several, which stand under a name."""
    return typer.Typer(
        help=purpose, no_args_is_help=purpose is not None, add_completion=False, rich_markup_mode=None
    )
