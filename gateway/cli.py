"""The commands. Exit status: 0 done, 1 the thing asked for failed, 2 wrong usage or configuration."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway import (
    conformance_command,
    fhir_commands,
    listing,
    logs,
    machine_commands,
    map_commands,
    merge_commands,
    message_commands,
    simulate_commands,
    token_commands,
)
from gateway.app import SERVICES, Gateway
from gateway.assembly import make_ports
from gateway.checks import addresses, check_setup, page_address
from gateway.flow import admit, deliver, release
from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, GatewayError, Invalid, NotFound
from gateway.model.ids import DeliveryId, OrderId
from gateway.model.lifecycle import Step, is_allowed
from gateway.model.order import Order
from gateway.model.user import Role
from gateway.settings import Settings, load
from gateway.store import orders, outbox, users

ACTOR = "cli"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

orders_app = typer.Typer(no_args_is_help=True, help="List, show, send, recall and cancel orders.")
deliveries_app = typer.Typer(no_args_is_help=True, help="List and retry what other systems are told.")
user_app = typer.Typer(no_args_is_help=True, help="Add people, change passwords.")
db_app = typer.Typer(no_args_is_help=True, help="Upgrade and back up the database.")
for name, part in (
    ("orders", orders_app),
    ("messages", message_commands.app),
    ("merges", merge_commands.app),
    ("deliveries", deliveries_app),
    ("user", user_app),
    ("token", token_commands.app),
    ("map", map_commands.app),
    ("db", db_app),
    ("fhir", fhir_commands.app),
    ("simulate", simulate_commands.app),
):
    app.add_typer(part, name=name)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@dataclass(slots=True)
class _Chosen:
    """The configuration file named on the command line; None when none was."""

    config: Path | None = None


_chosen = _Chosen()


def main(arguments: list[str] | None = None) -> None:
    """Run a command; `--config FILE` may stand before or after the verb."""
    words, _chosen.config = _without_config(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="gateway", obj=_chosen.config)
    except Invalid as error:
        _fail(error, 2)
    except GatewayError as error:
        _fail(error, 1)


@app.callback()
def root(
    config: Annotated[
        Path | None, typer.Option(help="The configuration file; may stand after the verb too.")
    ] = None,
) -> None:
    """The imaging order gateway: orders in, a worklist the receptionist controls, studies out."""
    if config is not None:
        _chosen.config = config


@app.command()
def serve(
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(sorted(SERVICES))}, by commas.")] = "",
) -> None:
    """Run the gateway until it is told to stop."""
    settings = _settings()
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


@app.command()
def check() -> None:
    """Say whether configuration, mappings, database, disk and peers are fit for work."""
    settings = _settings()
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


@app.command("demo")
def play_demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the last step; exit 0 when all happened.")
    ] = False,
    port_base: Annotated[int | None, typer.Option(help="The first of five ports to use.")] = None,
) -> None:
    """Play the whole road of an order with a simulated RIS, machine and EHR, in a temporary folder."""
    from gateway import demo  # noqa: PLC0415 - the simulated parties cost a second that no other command should pay

    raise typer.Exit(demo.run(once=once, port_base=port_base, console=out))


@app.command("launcher")
def open_launcher() -> None:
    """Open the desktop window: addresses, START and STOP, the log."""
    from gateway import launcher  # noqa: PLC0415 - Tk is not on every computer

    raise typer.Exit(launcher.main(_chosen.config))


@orders_app.command("list")
def list_orders(as_json: AsJson = False) -> None:
    """The newest orders."""
    with _ports() as ports, ports.database.read() as tx:
        _print([listing.order_row(order) for order in orders.newest(tx)], as_json)


@orders_app.command("show")
def show_order(order_id: int) -> None:
    """One order as JSON, with where each value came from."""
    with _ports() as ports, ports.database.read() as tx:
        row = listing.order_row(orders.show(tx, OrderId(order_id)))
        trace = [listing.provenance_row(entry) for entry in orders.provenance(tx, OrderId(order_id))]
    out.print_json(json.dumps({**row, "provenance": trace}, ensure_ascii=False))


@orders_app.command("send")
def send_order(
    accession: str, station: Annotated[str | None, typer.Option(help="AE title of the machine.")] = None
) -> None:
    """Put the orders with that accession number on a machine's worklist."""
    _for_accession(
        accession, Step.SEND, lambda ports, order: release.send(ports, order, actor=ACTOR, station=station)
    )


@orders_app.command("recall")
def recall_order(accession: str) -> None:
    """Take the orders with that accession number off the worklist."""
    _for_accession(accession, Step.RECALL, lambda ports, order: release.recall(ports, order, actor=ACTOR))


@orders_app.command("cancel")
def cancel_order(accession: str) -> None:
    """Cancel the orders with that accession number."""
    _for_accession(accession, Step.CANCEL, lambda ports, order: release.cancel(ports, order, actor=ACTOR))


app.command()(conformance_command.conformance)
orders_app.command("why")(machine_commands.why)


@deliveries_app.command("list")
def list_deliveries(as_json: AsJson = False) -> None:
    """The newest deliveries to other systems."""
    with _ports() as ports, ports.database.read() as tx:
        _print([listing.delivery_row(delivery) for delivery in outbox.newest(tx)], as_json)


@deliveries_app.command("retry")
def retry_deliveries(ids: list[int]) -> None:
    """Send those deliveries again now."""
    with _ports() as ports:
        for delivery_id in ids:
            deliver.retry(ports, DeliveryId(delivery_id), actor=ACTOR)
            out.print(f"delivery {delivery_id}: due now")


@user_app.command("add")
def add_user(name: str, role: Annotated[Role, typer.Option(help="What the user may do.")]) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    with _ports() as ports:
        admit.add_user(ports, name, role, _password(), actor=ACTOR)
    out.print(f"user added with the role {role}")


@user_app.command("password")
def change_password(name: str) -> None:
    """Give a user another password; every session of that user ends."""
    with _ports() as ports:
        admit.change_password(ports, name, _password(), actor=ACTOR)
    out.print("password changed")


@user_app.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Every user and role."""
    with _ports() as ports, ports.database.read() as tx:
        _print([listing.user_row(user) for user in users.listing(tx)], as_json)


@db_app.command("upgrade")
def upgrade_database() -> None:
    """Bring the database's schema up to date."""
    with _ports():
        out.print("the database is up to date")


@db_app.command("backup")
def back_up_database(file: Path) -> None:
    """Copy a SQLite database, consistently, while the gateway runs."""
    with _ports() as ports:
        ports.database.backup(file)
    out.print(f"copied to {file}", markup=False)


def _settings() -> Settings:
    return load(_chosen.config)


@contextmanager
def _ports() -> Iterator[Ports]:
    ports = make_ports(_settings())
    try:
        ports.database.upgrade()
        yield ports
    finally:
        ports.database.close()


def _without_config(words: list[str]) -> tuple[list[str], Path | None]:
    """The words without `--config FILE`, wherever it stands, and the file. Typer refuses a missing name."""
    rest: list[str] = []
    config: Path | None = None
    waiting = iter(words)
    for word in waiting:
        if word.startswith("--config="):
            config = Path(word.removeprefix("--config="))
        elif word == "--config":
            following = next(waiting, None)
            if following is None:
                rest.append(word)
            else:
                config = Path(following)
        else:
            rest.append(word)
    return rest, config


def _for_accession(accession: str, step: Step, act: Callable[[Ports, OrderId], Order]) -> None:
    with _ports() as ports:
        with ports.database.read() as tx:
            found = orders.of_accession(tx, accession)
        if not found:
            raise NotFound("accession: no order with that number")
        able = [order for order in found if is_allowed(order.state, step)]
        if not able:
            states = ", ".join(sorted({order.state for order in found}))
            raise Conflict(f"accession: the order is {states}: '{step}' is not possible")
        for order in able:
            done = act(ports, order.id)
            where = f" on {done.station or 'any machine'}" if step is Step.SEND else ""
            out.print(f"order {done.id}: {done.state}{where}", markup=False)


def _print(rows: Sequence[listing.Row], as_json: bool) -> None:
    listing.print_rows(rows, as_json=as_json, console=out)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


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


def _fail(error: GatewayError, status: int) -> None:
    for line in str(error).splitlines():
        err.print(f"gateway: {line}", markup=False)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
