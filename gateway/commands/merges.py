"""The commands of merged patients: list, undo."""

import typer

from gateway.commands.listing import Row, print_rows
from gateway.commands.opened import ACTOR, opened
from gateway.commands.terminal import AsJson, Id, commands, out
from gateway.flow.unmerge import unmerge
from gateway.model.ids import MergeId
from gateway.model.merge import Merge
from gateway.settings import load
from gateway.store import merges

app = commands("List merges of patients and take them back.")


@app.command("list")
def list_merges(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List merges, the newest first."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        rows = [_row(merge) for merge in merges.newest(tx)]
    print_rows(rows, as_json=as_json, console=out)


@app.command("undo")
def undo_merge(ctx: typer.Context, number: Id) -> None:
    """Take a merge back: what it moved belongs to the prior patient again."""
    with opened(load(ctx.obj)) as ports:
        merge = unmerge(ports, MergeId(number), actor=ACTOR)
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
