"""The commands of people who log in: add, list, change a password."""

import sys
from typing import Annotated

import typer

from gateway.commands.listing import print_rows, user_row
from gateway.commands.opened import ACTOR, opened
from gateway.commands.terminal import AsJson, commands, out
from gateway.flow import admit
from gateway.model.user import Role
from gateway.settings import load
from gateway.store import users

app = commands("Add people, change passwords.")


@app.command("add")
def add_user(
    ctx: typer.Context, name: str, role: Annotated[Role, typer.Option(help="What the user may do.")]
) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    with opened(load(ctx.obj)) as ports:
        admit.add_user(ports, name, role, _password(), actor=ACTOR)
    out.print(f"user added with the role {role}")


@app.command("password")
def change_password(ctx: typer.Context, name: str) -> None:
    """Give a user another password; every session of that user ends."""
    with opened(load(ctx.obj)) as ports:
        admit.change_password(ports, name, _password(), actor=ACTOR)
    out.print("password changed")


@app.command("list")
def list_users(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Every user and role."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        rows = [user_row(user) for user in users.listing(tx)]
    print_rows(rows, as_json=as_json, console=out)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password
