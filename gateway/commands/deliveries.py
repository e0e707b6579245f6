"""The commands of what other systems are told: list, retry."""

import typer

from gateway.commands.listing import delivery_row, print_rows
from gateway.commands.opened import ACTOR, opened
from gateway.commands.terminal import AsJson, Ids, commands, out
from gateway.flow import deliver
from gateway.model.ids import DeliveryId
from gateway.settings import load
from gateway.store import outbox

app = commands("List and retry what other systems are told.")


@app.command("list")
def list_deliveries(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The newest deliveries to other systems."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        rows = [delivery_row(delivery) for delivery in outbox.newest(tx)]
    print_rows(rows, as_json=as_json, console=out)


@app.command("retry")
def retry_deliveries(ctx: typer.Context, ids: Ids) -> None:
    """Send those deliveries again now."""
    with opened(load(ctx.obj)) as ports:
        for delivery_id in ids:
            deliver.retry(ports, DeliveryId(delivery_id), actor=ACTOR)
            out.print(f"delivery {delivery_id}: due now")
