"""The commands of programs' tokens: add, list, revoke."""

from typing import Annotated

import typer

from gateway.commands.listing import Row, print_rows
from gateway.commands.opened import ACTOR, opened
from gateway.commands.terminal import AsJson, commands, out
from gateway.flow.grant import grant, revoke
from gateway.model.token import Scope, Token
from gateway.settings import load
from gateway.store import tokens

app = commands("Give programs tokens and take them back.")


@app.command("add")
def add_token(
    ctx: typer.Context,
    name: str,
    scope: Annotated[Scope, typer.Option(help="What the token opens.")],
) -> None:
    """Make a token for a program. Its secret is printed, this once."""
    with opened(load(ctx.obj)) as ports:
        secret = grant(ports, name, scope, actor=ACTOR)
    out.print(secret, markup=False)


@app.command("list")
def list_tokens(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Every token with what it opens and when it was last used, to the minute."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        rows = [_row(token) for token in tokens.listing(tx)]
    print_rows(rows, as_json=as_json, console=out)


@app.command("revoke")
def revoke_token(ctx: typer.Context, name: str) -> None:
    """Take a token back: it is refused from the next request on."""
    with opened(load(ctx.obj)) as ports:
        revoke(ports, name, actor=ACTOR)
    out.print(f"token {name} is revoked", markup=False)


def _row(token: Token) -> Row:
    return {
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at.isoformat(),
        "used_at": token.used_at.isoformat() if token.used_at else None,
    }
