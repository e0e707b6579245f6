"""The commands of merged patients: list, undo."""

from typing import Annotated

import typer
from rich.console import Console

from gateway.assembly import make_ports
from gateway.flow.unmerge import unmerge
from gateway.listing import Row, print_rows
from gateway.model.ids import MergeId
from gateway.model.merge import Merge
from gateway.settings import load
from gateway.store import merges

ACTOR = "cli"

app = typer.Typer(no_args_is_help=True, help="List merges of patients and take them back.")
out = Console(highlight=False, soft_wrap=True)


@app.command("list")
def list_merges(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List merges, the newest first."""
    ports = make_ports(load(ctx.obj))
    try:
        with ports.database.read() as tx:
            rows = [_row(merge) for merge in merges.newest(tx)]
    finally:
        ports.database.close()
    print_rows(rows, as_json=as_json, console=out)


@app.command("undo")
def undo_merge(ctx: typer.Context, number: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Take a merge back: what it moved belongs to the prior patient again."""
    ports = make_ports(load(ctx.obj))
    try:
        merge = unmerge(ports, MergeId(number), actor=ACTOR)
    finally:
        ports.database.close()
    out.print(f"merge {merge.id} is undone", markup=False)


def _row(merge: Merge) -> Row:
    return {
        "id": merge.id,
        "at": merge.at.isoformat(),
        "message": merge.message_id,
        "prior": merge.prior.patient_id,
        "prior_issuer": merge.prior.issuer,
        "survivor": merge.survivor.patient_id,
        "survivor_issuer": merge.survivor.issuer,
        "orders": [str(order) for order in merge.moved.orders],
        "waiting": [str(order) for order in merge.moved.waiting],
        "studies": [str(linked.study) for linked in merge.moved.studies],
        "undone_at": merge.undone_at.isoformat() if merge.undone_at else None,
        "undone_by": merge.undone_by,
    }
