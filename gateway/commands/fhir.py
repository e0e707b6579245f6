"""The commands about FHIR servers: the keys we sign with, and the Subscriptions by which they push."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from gateway.commands.terminal import AsJson, commands
from gateway.fhir.keys import Kind, key_set, make_key, public_pem, read_key
from gateway.fhir.registrar import Registrar, Standing
from gateway.fhir_assembly import registrars
from gateway.model.errors import Invalid, NotFound, Refused, Unavailable
from gateway.settings import load

app = commands("FHIR servers and the keys we sign with.")
key_app = commands("Make and show the keys we sign with.")
app.add_typer(key_app, name="key")


@key_app.command("new")
def new(
    file: Annotated[Path, typer.Argument(help="Where the private key is written (PEM).")],
    kind: Annotated[Kind, typer.Option(help="ES384 or RS384.")] = "ES384",
) -> None:
    """Make a key pair; only its owner can read the file. The public key is printed as a JWK Set."""
    make_key(file, kind)
    typer.echo(json.dumps(key_set([file]), indent=2))


@key_app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="The file of a private key (PEM).")],
    pem: Annotated[bool, typer.Option("--pem", help="As PEM instead of a JWK Set.")] = False,
) -> None:
    """Print the public key of a file, for the server's administrator."""
    typer.echo(public_pem(read_key(file)).rstrip() if pem else json.dumps(key_set([file]), indent=2))


@app.command("subscribe")
def subscribe(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(help="The name of a source with `subscribe` in the configuration.")
    ],
) -> None:
    """Make the Subscription by which a source pushes its orders, or ask for it anew."""
    with _registrars(ctx.obj) as found:
        if source not in found:
            raise Invalid(
                f"fhir.sources.{source}.subscribe: absent; it says what to subscribe to, and where to"
            )
        try:
            standing = found[source].subscribe()
        except (NotFound, Refused, Unavailable) as error:
            raise Refused(f"fhir.sources.{source}.subscribe: the server {error}") from None
    typer.echo(f"{source}: {standing.address} is {standing.status}{_until(standing)}")


@app.command("subscriptions")
def subscriptions(
    ctx: typer.Context,
    is_json: AsJson = False,
) -> None:
    """Show how the Subscription of each source stands at its server."""
    with _registrars(ctx.obj) as found:
        for name, registrar in found.items():
            typer.echo(_line(name, registrar, is_json=is_json))


def _line(name: str, registrar: Registrar, *, is_json: bool) -> str:
    trouble, standing = "", None
    try:
        standing = registrar.show()
    except (NotFound, Refused, Unavailable) as error:
        trouble = f"the server {error}"
    if is_json:
        told = {
            "source": name,
            "subscription": standing.address if standing else None,
            "status": standing.status if standing else None,
            "ends": standing.ends.isoformat() if standing and standing.ends else None,
            "error": trouble or (standing.error if standing else ""),
        }
        return json.dumps(told)
    if standing is None:
        return f"{name}: {trouble or f'none; make it with: gateway fhir subscribe {name}'}"
    return f"{name}: {standing.address} is {standing.status}{_until(standing)}" + (
        f": {standing.error}" if standing.error else ""
    )


def _until(standing: Standing) -> str:
    return f" until {standing.ends:%Y-%m-%d %H:%M} UTC" if standing.ends else ""


@contextmanager
def _registrars(config: Path | None) -> Iterator[dict[str, Registrar]]:
    found = registrars(load(config), clock=lambda: datetime.now(UTC), new_id=lambda: str(uuid4()))
    try:
        yield found
    finally:
        for registrar in found.values():
            registrar.close()
