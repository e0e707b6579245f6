"""The commands of orders: list, show, send, recall, cancel, and why a machine has one on its list or not."""

import json
from collections.abc import Callable
from typing import Annotated

import typer

from gateway.commands.listing import ORDER_JSON_ONLY, order_row, print_rows, provenance_row
from gateway.commands.opened import ACTOR, opened
from gateway.commands.terminal import AsJson, Id, commands, out
from gateway.flow import release
from gateway.flow.ports import Ports
from gateway.flow.why import Answer, explain
from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import OrderId
from gateway.model.lifecycle import Step, is_allowed
from gateway.model.order import Order
from gateway.settings import load
from gateway.store import orders
from gateway.store.database import Tx

app = commands("List, show, send, recall and cancel orders.")


@app.command("list")
def list_orders(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The newest orders."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        rows = [order_row(order) for order in orders.newest(tx)]
    print_rows(rows, as_json=as_json, console=out, json_only=ORDER_JSON_ONLY)


@app.command("show")
def show_order(ctx: typer.Context, order_id: Id) -> None:
    """One order as JSON, with where each value came from."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        row = order_row(orders.show(tx, OrderId(order_id)))
        trace = [provenance_row(entry) for entry in orders.provenance(tx, OrderId(order_id))]
    out.print_json(json.dumps({**row, "provenance": trace}, ensure_ascii=False))


@app.command("send")
def send_order(
    ctx: typer.Context,
    accession: str,
    station: Annotated[str | None, typer.Option(help="AE title of the machine.")] = None,
) -> None:
    """Put the orders with that accession number on a machine's worklist."""

    def send(ports: Ports, order: OrderId) -> Order:
        return release.send(ports, order, actor=ACTOR, station=station)

    _for_accession(ctx, accession, Step.SEND, send)


@app.command("recall")
def recall_order(ctx: typer.Context, accession: str) -> None:
    """Take the orders with that accession number off the worklist."""
    _for_accession(
        ctx, accession, Step.RECALL, lambda ports, order: release.recall(ports, order, actor=ACTOR)
    )


@app.command("cancel")
def cancel_order(ctx: typer.Context, accession: str) -> None:
    """Cancel the orders with that accession number."""
    _for_accession(
        ctx, accession, Step.CANCEL, lambda ports, order: release.cancel(ports, order, actor=ACTOR)
    )


@app.command("why")
def why(
    ctx: typer.Context,
    accession: str,
    station: Annotated[str, typer.Argument(metavar="AE", help="AE title of the machine.")],
) -> None:
    """Say whether a machine has the orders with that accession number on its list, and if not, why."""
    with opened(load(ctx.obj)) as ports:
        with ports.database.read() as tx:
            found = _of_accession(tx, accession)
        answers = [explain(ports, order.id, station) for order in found]
    for answer in answers:
        _print(answer)
    if not any(answer.is_listed for answer in answers):
        raise typer.Exit(1)


def _for_accession(
    ctx: typer.Context, accession: str, step: Step, act: Callable[[Ports, OrderId], Order]
) -> None:
    with opened(load(ctx.obj)) as ports:
        with ports.database.read() as tx:
            found = _of_accession(tx, accession)
        able = [order for order in found if is_allowed(order.state, step)]
        if not able:
            states = ", ".join(sorted({order.state for order in found}))
            raise Conflict(f"accession: the order is {states}: '{step}' is not possible")
        for order in able:
            done = act(ports, order.id)
            where = f" on {done.station or 'any machine'}" if step is Step.SEND else ""
            out.print(f"order {done.id}: {done.state}{where}", markup=False)


def _of_accession(tx: Tx, accession: str) -> tuple[Order, ...]:
    found = orders.of_accession(tx, accession)
    if not found:
        raise NotFound("accession: no order with that number")
    return found


def _print(answer: Answer) -> None:
    verdict = "on the list of" if answer.is_listed else "not on the list of"
    out.print(f"order {answer.order_id}: {verdict} {answer.name}", markup=False)
    for finding in answer.findings:
        out.print(f"  {finding.text}", markup=False)
        if finding.advice:
            out.print(f"    {finding.advice}", markup=False)
