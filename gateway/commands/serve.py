"""The command that runs the gateway."""

import signal
import threading
from typing import Annotated

import typer
from rich.table import Table

from gateway import logs
from gateway.app import SERVICES, Gateway
from gateway.checks import addresses, page_address
from gateway.commands.terminal import commands, out
from gateway.flow import admit
from gateway.settings import Settings, load

app = commands()


@app.command()
def serve(
    ctx: typer.Context,
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(sorted(SERVICES))}, by commas.")] = "",
) -> None:
    """Run the gateway until it is told to stop."""
    settings = load(ctx.obj)
    _configure_logs(settings)
    gateway = Gateway(settings, only=[word.strip() for word in only.split(",")] if only else SERVICES)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with gateway:
        _print_welcome(gateway, admit.new_setup_secret(gateway.ports) if "http" in gateway.only else None)
        while not stop.wait(0.5):
            pass
        out.print("Stopping ...")


def _configure_logs(settings: Settings) -> None:
    chosen = settings.log
    logs.configure(
        file=chosen.file,
        level=chosen.level,
        max_bytes=chosen.max_megabytes * 1_000_000,
        kept_files=chosen.kept_files,
    )


def _print_welcome(gateway: Gateway, secret: str | None) -> None:
    """What one types into the machine, the RIS and the browser."""
    settings, here = gateway.settings, addresses()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("This computer", ", ".join(here))
    listeners = ", ".join(f"port {one.port} ({name})" for name, one in settings.hl7.listeners.items())
    title = settings.dicom.ae_title
    served = (
        ("http", "Dashboard", page_address(settings)),
        ("hl7", "HL7 (MLLP)", listeners),
        ("dicom", "Worklist", f"port {settings.dicom.worklist_port}, AE title {title}"),
        ("dicom", "Storage", f"port {settings.dicom.storage_port}, AE title {title}"),
    )
    for service, what, where in served:
        if service in gateway.only:
            table.add_row(what, where)
    out.print(f"\n{settings.site.name} is running.\n", markup=False)
    out.print(table)
    if secret is not None:
        out.print(
            f"\nNo one can log in yet. Open the dashboard and enter this one-time set-up secret: {secret}\n"
        )
