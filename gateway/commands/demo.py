"""The command that plays the whole road of an order."""

from typing import Annotated

import typer

from gateway import demo
from gateway.commands.terminal import LAST_PORT, commands, out

app = commands()


@app.command("demo")
def play(
    once: Annotated[
        bool, typer.Option("--once", help="End after the last step; exit 0 when all happened.")
    ] = False,
    port_base: Annotated[
        int | None, typer.Option(min=1, max=LAST_PORT - 4, help="The first of five ports to use.")
    ] = None,
) -> None:
    """Play the whole road of an order with a simulated RIS, machine and EHR, in a temporary folder."""
    raise typer.Exit(demo.run(once=once, port_base=port_base, console=out))
