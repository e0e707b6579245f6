"""The commands about machines and what they have on their lists."""

from typing import Annotated

import typer
from rich.console import Console

from gateway.assembly import make_ports
from gateway.flow.why import Answer, explain
from gateway.model.errors import NotFound
from gateway.settings import load
from gateway.store import orders

out = Console(highlight=False, soft_wrap=True)


def why(
    ctx: typer.Context,
    accession: str,
    station: Annotated[str, typer.Argument(metavar="AE", help="AE title of the machine.")],
) -> None:
    """Say whether a machine has the orders with that accession number on its list, and if not, why."""
    ports = make_ports(load(ctx.obj))
    try:
        ports.database.upgrade()
        with ports.database.read() as tx:
            found = orders.of_accession(tx, accession)
        if not found:
            raise NotFound("accession: no order with that number")
        answers = [explain(ports, order.id, station) for order in found]
    finally:
        ports.database.close()
    for answer in answers:
        _print(answer)
    if not any(answer.is_listed for answer in answers):
        raise typer.Exit(1)


def _print(answer: Answer) -> None:
    verdict = "on the list of" if answer.is_listed else "not on the list of"
    out.print(f"order {answer.order_id}: {verdict} {answer.name}", markup=False)
    for finding in answer.findings:
        out.print(f"  {finding.text}", markup=False)
        if finding.advice:
            out.print(f"    {finding.advice}", markup=False)
