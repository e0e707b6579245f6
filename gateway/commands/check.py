"""The command that looks over everything that a working gateway leans on."""

import typer

from gateway.checks import check_setup, page_address
from gateway.commands.terminal import commands, out
from gateway.settings import load

app = commands()


@app.command()
def check(ctx: typer.Context) -> None:
    """Say whether configuration, mappings, database, disk and peers are fit for work."""
    settings = load(ctx.obj)
    found = check_setup(settings)
    for part, trouble in found.troubles.items():
        out.print(
            f"{'TROUBLE' if trouble else 'ok':8} {part}{': ' + trouble if trouble else ''}", markup=False
        )
    for warning in found.warnings:
        out.print(f"{'warning':8} {warning}", markup=False)
    out.print(f"{'page':8} {page_address(settings)}", markup=False)
    if any(found.troubles.values()):
        raise typer.Exit(1)
