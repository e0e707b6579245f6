"""The command that prints the DICOM conformance statement."""

import sys

import typer

from gateway.assembly import conformance_facts
from gateway.commands.terminal import commands
from gateway.dicom.conformance import statement
from gateway.settings import load

app = commands()


@app.command()
def conformance(context: typer.Context) -> None:
    """Print the DICOM conformance statement of this configuration, in Markdown."""
    sys.stdout.write(statement(conformance_facts(load(context.obj))))
