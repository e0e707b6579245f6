"""The command that opens the desktop window."""

import typer

from gateway import launcher
from gateway.commands.terminal import commands

app = commands()


@app.command("launcher")
def open_launcher(ctx: typer.Context) -> None:
    """Open the desktop window: addresses, START and STOP, the log."""
    raise typer.Exit(launcher.main(ctx.obj))
