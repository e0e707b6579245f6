"""The commands about the keys by which the gateway proves itself to FHIR servers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.fhir.keys import Kind, key_set, make_key, public_pem, read_key

app = typer.Typer(no_args_is_help=True, help="FHIR servers and the keys we sign with.")
key_app = typer.Typer(no_args_is_help=True, help="Make and show the keys we sign with.")
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
