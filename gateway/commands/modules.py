"""The commands of the mapping modules: check, test, explain, diff, new."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.text import Text

from gateway.assembly import worklist_rules
from gateway.commands.opened import opened
from gateway.commands.terminal import MOST_ROWS, commands, err, out, read_id
from gateway.mapping.diff import Comparison, Kind, compare
from gateway.mapping.draft import PARENTS, propose
from gateway.mapping.explain import Explanation, Trace, explain
from gateway.mapping.fhir_paths import Graph
from gateway.mapping.module import Module
from gateway.mapping.registry import Modules, prove
from gateway.mapping.replay import Readable, map_again
from gateway.mapping.watch import modules_of
from gateway.model.errors import Invalid, Malformed
from gateway.model.ids import MessageId
from gateway.model.order import OrderRequest, Provenance
from gateway.settings import Settings
from gateway.settings import load as load_settings
from gateway.store import inbox
from gateway.stored import read_messages, read_stored

app = commands("Check, test, explain, compare and draft mapping modules.")

COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


@app.command("check")
def check_mappings(ctx: typer.Context) -> None:
    """Every fault of every mapping module and machine profile, with file, line and column."""
    modules = _active(_settings(ctx))
    faults = (*modules.faults, *worklist_rules(_settings(ctx)).machines.faults)
    for fault in faults:
        err.print(fault, markup=False)
    for warning in modules.warnings:
        err.print(f"warning: {warning}", markup=False)
    out.print(f"{len(modules.names)} modules are usable: {', '.join(modules.names)}", markup=False)
    if faults:
        raise typer.Exit(1)


@app.command("test")
def test_mappings(ctx: typer.Context) -> None:
    """Run the examples of every mapping module and say what differs."""
    settings = _settings(ctx)
    proof = prove(settings.mappings.folder, site=_site(settings), custom=settings.mappings.transforms)
    for line in proof.lines:
        out.print(_readable(line))
    if not proof.is_good:
        raise typer.Exit(1)


@app.command("explain")
def explain_message(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="A file with messages, or the number of a stored message.")],
    message: Annotated[int, typer.Option(min=0, help="Only this one of the messages of the file.")] = 0,
) -> None:
    """Say of each order in a message where every value came from, and what is wrong with it."""
    settings = _settings(ctx)
    modules = _active(settings)
    number = 0
    for number, readable in enumerate(_messages(settings, what), start=1):
        if message in (0, number):
            _print_explanation(number, explain(modules, readable))
    if message > number:
        raise Invalid(f"--message: the last message has the number {number}")


@app.command("diff")
def diff_module(
    ctx: typer.Context,
    module: Annotated[
        str, typer.Argument(help="A changed module's file; or a module's name, with --against.")
    ],
    last: Annotated[
        int, typer.Option(min=1, max=MOST_ROWS, help="How many of the newest stored messages.")
    ] = 500,
    against: Annotated[
        Path | None, typer.Option(help="The folder, or the module's file, to compare with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Map the newest stored messages with the module changed and unchanged; exit 1 when an entry is lost."""
    settings = _settings(ctx)
    before, after = _sides(settings, module, against)
    if faults := [fault for fault in after.faults if fault not in before.faults]:
        raise Invalid(*faults)
    unread: list[str] = []
    found = compare(before, after, _newest(settings, last, unread))
    if as_json:
        sys.stdout.writelines(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in found.entries)
    else:
        _print_comparison(found, len(unread))
    if found.count(Kind.LOST):
        raise typer.Exit(1)


@app.command("new")
def draft_module(
    ctx: typer.Context,
    origin: Annotated[Path, typer.Option("--from", help="A file with a real message, HL7 v2 or FHIR.")],
    to: Annotated[
        Path | None, typer.Option(help="Where to write the module; the terminal without it.")
    ] = None,
    name: Annotated[str, typer.Option(help="The module's name; from the sender without it.")] = "",
) -> None:
    """Draft a module from a real message; what could not be found is marked."""
    settings = _settings(ctx)
    if to is not None and to.exists():
        raise Invalid(f"{to}: the file is there already")
    readable = next(iter(read_messages(origin)))
    with trial_folder(settings.mappings.folder) as folder:
        text = draft(readable, folder, partial(_loaded, settings), name=name or (to.stem if to else ""))
    if to is None:
        sys.stdout.write(text)
    else:
        try:
            to.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Invalid(f"{to}: cannot be written: {error.strerror}") from None
        out.print(f"written to {to}; read it, then: gateway map test", markup=False)


def draft(readable: Readable, folder: Path, load: Callable[[Path], Modules], *, name: str = "") -> str:
    """A module for the sender of the message, proved in `folder`, where it is written. Raises Invalid."""
    shipped = load(folder)
    chosen = map_again(shipped, readable).module
    parent = shipped.module(chosen.name if chosen else PARENTS[isinstance(readable.content, Graph)])
    while parent.parent:  # another site's module is no parent
        parent = shipped.module(parent.parent)
    file = folder / "draft.yaml"

    def load_draft(text: str) -> Module:
        file.write_text(text, encoding="utf-8")
        modules = load(folder)
        made = [module for module in modules_of(modules) if module.mark.file == file.name]
        if not made:
            raise Invalid(*(fault for fault in modules.faults if fault.startswith(f"{file.name}:")))
        return made[0]

    return propose(readable, parent, load_draft, name=name)


@contextmanager
def trial_folder(folder: Path) -> Iterator[Path]:
    """A copy of the modules' folder that may be changed."""
    with TemporaryDirectory() as made:
        copy = Path(made) / "mappings"
        shutil.copytree(folder, copy)
        yield copy


def _settings(ctx: typer.Context) -> Settings:
    return load_settings(ctx.obj)


def _site(settings: Settings) -> dict[str, str]:
    return {"timezone": settings.site.timezone}


def _active(settings: Settings) -> Modules:
    return _loaded(settings, settings.mappings.folder)


def _loaded(settings: Settings, folder: Path) -> Modules:
    return Modules.load(folder, site=_site(settings), custom=settings.mappings.transforms)


def _messages(settings: Settings, what: str) -> Iterable[Readable]:
    """The messages of a file, or the stored one of that number. Raises Invalid, NotFound, Malformed."""
    if _is_there(Path(what)) or not (what.isascii() and what.isdecimal()):
        return read_messages(Path(what))
    number = MessageId(read_id(what))
    with opened(settings) as ports, ports.database.read() as tx:
        stored = inbox.show(tx, number)
    listener = settings.hl7.listeners.get(stored.source)
    return (read_stored(stored, fallback=listener.fallback_charset if listener else "cp1252"),)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no file can have such a name
        return False


def _newest(settings: Settings, last: int, unread: list[str]) -> Iterator[tuple[str, Readable]]:
    """The newest stored messages, each with its number; those that cannot be read go to `unread`."""
    with opened(settings) as ports, ports.database.read() as tx:
        stored = inbox.newest(tx, limit=last)
    for one in stored:
        listener = settings.hl7.listeners.get(one.source)
        try:
            fallback = listener.fallback_charset if listener else "cp1252"
            yield str(one.id), read_stored(one, fallback=fallback)
        except Malformed:
            unread.append(str(one.id))


def _sides(settings: Settings, module: str, against: Path | None) -> tuple[Modules, Modules]:
    """The modules before and after the change. Raises Invalid when `module` is nothing to compare."""
    changed = Path(module)
    if changed.is_file():
        before = _loaded(settings, against) if against and against.is_dir() else _active(settings)
        return before, _with_file(settings, changed, changed.name)
    after = _active(settings)
    name = after.module(module).mark.file
    if against is None:
        raise Invalid("--against: a folder or a file is needed, to compare the module in use with")
    return (_loaded(settings, against) if against.is_dir() else _with_file(settings, against, name)), after


def _with_file(settings: Settings, file: Path, name: str) -> Modules:
    """The modules of the folder with `file` in the place of the one that holds the same module."""
    with trial_folder(settings.mappings.folder) as copy:
        wanted = _module_line(file)
        for path in (*copy.glob("*.yaml"), *copy.glob("*.yml")):
            if wanted and _module_line(path) == wanted:
                path.unlink()
        shutil.copyfile(file, copy / name)
        return _loaded(settings, copy)


def _module_line(path: Path) -> str:
    """The line that names the module, "" when there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise Invalid(f"{path}: cannot be read: {error.strerror}") from None
    named = (line for line in lines if line.startswith("mapping:"))
    return next(named, "").partition("#")[0].replace('"', "").replace("'", "").strip()


def _readable(line: str) -> Text:
    """A line of a proof; what is expected stands below what came."""
    if line.endswith(": ok"):
        return Text(line, style="green")
    style = "dim" if ": otherwise than its parent: " in line else "red"
    return Text(line.replace(", expected ", "\n    expected "), style=style)


def _print_explanation(number: int, found: Explanation) -> None:
    module = found.mapped.module
    named = f"{module.name} {module.version}" if module else "no mapping module matches"
    out.print(Text(f"Message {number}: {named}", style="bold"))
    for because in found.mapped.skipped:
        out.print(Text(f"  skipped: {because}", style="yellow"))
    for place, (request, trace) in enumerate(zip(found.mapped.requests, found.traces, strict=True), start=1):
        out.print(Text(f"\nOrder {place}: {request.action}", style="bold"))
        _print_message(trace)
        _print_entries(request, trace)


def _print_message(trace: Trace) -> None:
    for line in trace.lines:
        shown = Text(f"{line.number:>4}  ", style="dim")
        for piece in line.pieces:
            style = f"bold underline {COLOURS[piece.uses[0] % len(COLOURS)]}" if piece.uses else "not dim"
            shown.append(piece.text, style=style)
        out.print(shown)


def _print_entries(request: OrderRequest, trace: Trace) -> None:
    for number, entry in enumerate(trace.entries):
        out.print(_entry_line(entry, trace.line_of(number), COLOURS[number % len(COLOURS)]))
        if entry.empty:
            out.print(Text(f"      empty before it: {', '.join(entry.empty)}", style="dim"))
    for fault in request.faults:
        out.print(Text(f"  {fault.severity}: {fault}", style="yellow" if fault.severity == "warn" else "red"))


def _entry_line(entry: Provenance, line: int, colour: str) -> Text:
    place = (
        f"line {line} {entry.place.path}" if entry.place and line else str(entry.place or "set by the module")
    )
    steps = f"  [{', '.join(entry.steps)}]" if entry.steps else ""
    shown = Text("  ")
    shown.append(entry.keyword, style=f"bold {colour}")
    shown.append(f"  {entry.value or '(delete)'}".replace("\n", " / "))
    shown.append(f"  <- {place}  raw={entry.raw!r}{steps}  {entry.at}", style="dim")
    return shown


def _print_comparison(found: Comparison, unread: int) -> None:
    styles = {Kind.LOST: "red", Kind.NEW: "green", Kind.CHANGED: "yellow"}
    for entry in found.entries:
        title = (
            f"message {entry.message}, order {entry.number}, accession {entry.accession or '-'}: {entry.kind}"
        )
        out.print(Text(title, style=styles[entry.kind]))
        for change in entry.changes:
            out.print(Text(f"  {change.keyword}: {change.before or '-'} -> {change.after or '-'}"))
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in Kind)
    left_out = f" ({unread} more cannot be read)" if unread else ""
    out.print(f"{found.messages} messages compared{left_out}: {counts}", markup=False)
