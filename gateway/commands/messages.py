"""The commands of the inbox: list, find, show, replay, edit and discard messages."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gateway.assembly import rework
from gateway.commands.listing import message_row, print_rows
from gateway.commands.opened import ACTOR, opened
from gateway.commands.terminal import MOST_ROWS, AsJson, Id, Ids, commands, err, out
from gateway.flow.ports import Ports
from gateway.flow.replay import Rework, discard, replay, retry_edited
from gateway.mapping.registry import Modules
from gateway.model.errors import Conflict, GatewayError, Invalid, NotFound
from gateway.model.ids import MessageId
from gateway.model.message import MessageState
from gateway.settings import Settings, load
from gateway.store import audit, inbox, search
from gateway.store.search import Wanted

app = commands("List, find and show what senders sent; try it again, put it away.")


@app.command("list")
def list_messages(
    ctx: typer.Context,
    as_json: AsJson = False,
    state: Annotated[MessageState | None, typer.Option(help="Only messages in that state.")] = None,
    find: Annotated[str, typer.Option(help="A whole number, or the beginning of a name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="How many at most.")] = inbox.PAGE,
) -> None:
    """The newest messages and what became of them."""
    with opened(load(ctx.obj)) as ports, ports.database.read() as tx:
        found = search.find(tx, Wanted(term=find, state=state), limit=limit)
    print_rows([message_row(message) for message in found], as_json=as_json, console=out)


@app.command("show")
def show_message(ctx: typer.Context, message_id: Id) -> None:
    """One message as its character set says, what we answered, and what was done with it since."""
    settings = load(ctx.obj)
    with opened(settings) as ports, ports.database.read() as tx:
        message = inbox.show(tx, MessageId(message_id))
        history = audit.of_subject(tx, f"message:{message_id}")
    read = rework(settings, lambda: _modules(settings))
    for title, text in (("received", read.text(message)), ("answered", _plain(message.answer))):
        out.print(f"--- {title}")
        sys.stdout.write(text.rstrip("\n") + "\n")  # a console would change its tabs and control characters
    for warning in message.warnings:
        out.print(f"--- warning: {warning}", markup=False)
    for event in history:
        out.print(
            f"--- {event.at:%Y-%m-%d %H:%M:%SZ} {event.actor} {event.action}: {event.detail}", markup=False
        )
    out.print(f"--- {message.state}{': ' + message.reason if message.reason else ''}", markup=False)


@app.command("replay")
def replay_messages(ctx: typer.Context, ids: Ids) -> None:
    """Map those messages again with the modules as they are now; exit 1 when one is not mapped."""

    def act(ports: Ports, read: Rework, message_id: MessageId) -> bool:
        verdict = replay(ports, message_id, read, actor=ACTOR)
        out.print(
            f"message {message_id}: {verdict.state}{': ' + verdict.reason if verdict.reason else ''}",
            markup=False,
        )
        return verdict.state in (MessageState.MAPPED, MessageState.SKIPPED)

    _each(ctx, ids, act)


@app.command("discard")
def discard_messages(
    ctx: typer.Context,
    ids: Ids,
    reason: Annotated[str, typer.Option(help="Why, for those who look at it later.")],
) -> None:
    """Put held or failed messages away; what they did to orders stays."""

    def act(ports: Ports, _: Rework, message_id: MessageId) -> bool:
        discard(ports, message_id, reason=reason, actor=ACTOR)
        out.print(f"message {message_id}: {MessageState.DISCARDED}")
        return True

    _each(ctx, ids, act)


@app.command("edit")
def edit_message(
    ctx: typer.Context,
    message_id: Id,
    file: Annotated[Path, typer.Option(help="The edited message, UTF-8, with a segment on each line.")],
    reason: Annotated[str, typer.Option(help="Why, for those who look at it later.")] = "edited by hand",
) -> None:
    """Map an edited copy of a message in its place; the message itself is kept as it came."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file}: cannot be read as UTF-8 text: {type(error).__name__}") from None
    settings = load(ctx.obj)
    with opened(settings) as ports:
        modules = _modules(settings)
        read = rework(settings, lambda: modules, ports.database)
        copy_id = retry_edited(ports, MessageId(message_id), text, read, reason=reason, actor=ACTOR)
        with ports.database.read() as tx:
            copy = inbox.show(tx, copy_id)
    out.print(
        f"message {copy_id}, an edited copy of {message_id}: {copy.state}{': ' + copy.reason if copy.reason else ''}",
        markup=False,
    )
    if copy.state not in (MessageState.MAPPED, MessageState.SKIPPED):
        raise typer.Exit(1)


def _each(ctx: typer.Context, ids: list[int], act: Callable[[Ports, Rework, MessageId], bool]) -> None:
    """Every message in turn; exit 1 at the end when one was refused or did not become what it should."""
    settings = load(ctx.obj)
    failed = False
    with opened(settings) as ports:
        modules = _modules(settings)
        read = rework(settings, lambda: modules, ports.database)
        for number in ids:
            try:
                failed |= not act(ports, read, MessageId(number))
            except (Conflict, NotFound) as error:
                failed = True
                err.print(f"gateway: {error}", markup=False)
    if failed:
        raise typer.Exit(1)


def _modules(settings: Settings) -> Modules:
    chosen = settings.mappings
    modules = Modules.load(chosen.folder, site={"timezone": settings.site.timezone}, custom=chosen.transforms)
    if not modules.names:
        raise GatewayError(f"mappings.folder: no usable mapping module in {chosen.folder}")
    return modules


def _plain(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace").replace("\r", "\n")
