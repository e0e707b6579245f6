"""The commands of programs' tokens: add, list, revoke."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from gateway.assembly import make_ports
from gateway.flow.grant import grant, revoke
from gateway.flow.ports import Ports
from gateway.listing import Row, print_rows
from gateway.model.token import Scope, Token
from gateway.settings import load
from gateway.store import tokens

ACTOR = "cli"

app = typer.Typer(no_args_is_help=True, help="Give programs tokens and take them back.")
out = Console(highlight=False, soft_wrap=True)


@app.command("add")
def add_token(
    ctx: typer.Context,
    name: str,
    scope: Annotated[Scope, typer.Option(help="What the token opens.")],
) -> None:
    """Make a token for a program. Its secret is printed, this once."""
    with _ports(ctx) as ports:
        secret = grant(ports, name, scope, actor=ACTOR)
    out.print(secret, markup=False)


@app.command("list")
def list_tokens(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Every token with what it opens and when it was last used, to the minute."""
    with _ports(ctx) as ports, ports.database.read() as tx:
        rows = [_row(token) for token in tokens.listing(tx)]
    print_rows(rows, as_json=as_json, console=out)


@app.command("revoke")
def revoke_token(ctx: typer.Context, name: str) -> None:
    """Take a token back: it is refused from the next request on."""
    with _ports(ctx) as ports:
        revoke(ports, name, actor=ACTOR)
    out.print(f"token {name} is revoked", markup=False)


@contextmanager
def _ports(ctx: typer.Context) -> Iterator[Ports]:
    ports = make_ports(load(ctx.obj))
    try:
        ports.database.upgrade()
        yield ports
    finally:
        ports.database.close()


def _row(token: Token) -> Row:
    return {
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at.isoformat(),
        "used_at": token.used_at.isoformat() if token.used_at else None,
    }
