"""The commands that play one of the outside parties."""

import json
import sys
import uuid
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.terminal import LAST_PORT, commands, out
from gateway.model.errors import Invalid, NotFound
from gateway.model.ids import uid_from_uuid
from gateway.simulate import ehr, machine, performed, ris, ris_inbox

app = commands("Play one of the outside parties.")
machine_app = commands("Play an imaging machine.")
app.add_typer(machine_app, name="machine")

To = Annotated[str, typer.Option(help="HOST:PORT of the other side.")]
Ae = Annotated[str, typer.Option("--ae", help="Our AE title.")]
Called = Annotated[str, typer.Option("--called", help="The AE title of the other side.")]


class End(StrEnum):
    """How a simulated exam ends."""

    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    NONE = "none"  # it goes on


@app.command("ris")
def play_ris(
    files: Annotated[list[Path] | None, typer.Argument(help="Messages to send.")] = None,
    to: Annotated[str, typer.Option(help="HOST:PORT of the other side.")] = "",
    listen: Annotated[
        int | None,
        typer.Option(min=1, max=LAST_PORT, help="Be told about orders on this port, until stopped."),
    ] = None,
    answer: Annotated[str, typer.Option(help="AA, AE or AR to what comes in.")] = "AA",
) -> None:
    """Send HL7 v2 messages from files and print the acknowledgements, or take messages and print them."""
    if listen is not None:
        ris_inbox.serve(listen, answer=answer, show=lambda text: out.print(text, markup=False))
        return
    if not files:
        raise Invalid("FILES: none was given, so nothing was sent")
    sent = ris.send_files(files, *read_address(to))
    for one in sent:
        out.print(f"{one.control_id}: {one.code} {one.text}".rstrip(), markup=False)
    if not all(one.is_accepted for one in sent):
        raise typer.Exit(1)


@machine_app.command("query")
def query(
    to: To,
    ae: Ae = "US1",
    called: Called = "STORESCP",
    key: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Ask for the worklist, by `--key PatientID=MRN1` and the like, and print it as JSON lines."""
    host, port = read_address(to)
    keys = dict(word.partition("=")[::2] for word in key or [])
    for entry in machine.query(
        host, port, calling_ae=ae, called_ae=called, timeout_s=machine.TIMEOUT_S, **keys
    ):
        sys.stdout.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")


@machine_app.command("store")
def store(files: list[Path], to: To, ae: Ae = "US1", called: Called = "STORESCP") -> None:
    """Send DICOM files and print the status of each."""
    host, port = read_address(to)
    stored = machine.store(machine.read_objects(files), host, port, calling_ae=ae, called_ae=called)
    for one in stored:
        out.print(f"{one.sop_uid}: {'no answer' if one.status is None else f'0x{one.status:04X}'}")
    if not all(one.is_kept for one in stored):
        raise typer.Exit(1)


@machine_app.command("mpps")
def tell(
    to: To,
    ae: Ae = "US1",
    called: Called = "STORESCP",
    key: Annotated[list[str] | None, typer.Option(help="KEYWORD=VALUE: which entry of the worklist.")] = None,
    made: Annotated[list[Path] | None, typer.Option(help="A DICOM file that the exam made.")] = None,
    end: Annotated[End, typer.Option(help="How the exam ends.")] = End.COMPLETED,
) -> None:
    """Examine the first entry of the worklist: tell that it begins and how it ends, and print each status."""
    host, port = read_address(to)
    keys = dict(word.partition("=")[::2] for word in key or [])
    entries = machine.query(host, port, calling_ae=ae, called_ae=called, timeout_s=machine.TIMEOUT_S, **keys)
    if not entries:
        raise NotFound("worklist: no entry matches")
    teller = performed.Teller(host=host, port=port, calling_ae=ae, called_ae=called)
    uid = uid_from_uuid(uuid.uuid4())
    codes = [teller.begin(uid, entries[0], datetime.now().astimezone())]
    out.print(f"{uid} begun: 0x{codes[0]:04X}")
    if end is not End.NONE:
        objects = machine.read_objects(made or [])
        codes.append(teller.end(uid, end.upper(), objects, datetime.now().astimezone()))
        out.print(f"{uid} {end}: 0x{codes[1]:04X}")
    if any(codes):
        raise typer.Exit(1)


@app.command("ehr")
def serve_ehr(
    port: Annotated[int, typer.Option(min=1, max=LAST_PORT)],
    token: Annotated[str, typer.Option(help="The bearer token to ask for.")] = "",
) -> None:
    """Be an EHR that takes ImagingStudy resources, until stopped."""
    ehr.serve(port, token=token or None)


def read_address(text: str) -> tuple[str, int]:
    """The host and the port of "HOST:PORT". Raises Invalid."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or len(port) > 5 or not 0 < int(port) <= LAST_PORT:
        raise Invalid("--to: HOST:PORT is wanted, such as 127.0.0.1:2575")
    return host or "127.0.0.1", int(port)
