"""The commands of the database: upgrade, back up."""

from pathlib import Path

import typer

from gateway.commands.opened import opened
from gateway.commands.terminal import commands, out
from gateway.settings import load

app = commands("Upgrade and back up the database.")


@app.command("upgrade")
def upgrade_database(ctx: typer.Context) -> None:
    """Bring the database's schema up to date; make the database when there is none."""
    with opened(load(ctx.obj), may_be_new=True):
        out.print("the database is up to date")


@app.command("backup")
def back_up_database(ctx: typer.Context, file: Path) -> None:
    """Copy a SQLite database, consistently, while the gateway runs."""
    with opened(load(ctx.obj)) as ports:
        ports.database.backup(file)
    out.print(f"copied to {file}", markup=False)
