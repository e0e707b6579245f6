"""Which change is told to whom: the news that the outbox owes to the systems that speak HL7 v2."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from gateway.flow.ports import Announce
from gateway.hl7.destination import Destination, Event
from gateway.hl7.order_news import EVENTS, order_status
from gateway.hl7.origin import read_origin
from gateway.hl7.result_news import Asked, study_results
from gateway.model.delivery import Change, Outgoing
from gateway.model.lifecycle import State
from gateway.model.message import Protocol
from gateway.model.order import Order, standing

_RESULTS = "study.complete"


def announcer(
    destinations: Iterable[Destination],
    new_control_id: Callable[[], str],
    fallbacks: Mapping[str, str],
) -> Announce:
    """What turns a change into news for those `destinations` that want it.

    `new_control_id` gives a fresh MSH-10; it is part of the news, so one that is sent twice can be told from two.
    `fallbacks` are the listeners' character sets for messages that declare none.
    """
    told = tuple(destinations)

    def announce(change: Change) -> tuple[Outgoing, ...]:
        event = Event.RESULTS if change.action == _RESULTS else EVENTS.get(change.action)
        wanting = [one for one in told if event is not None and _wants(one, event, change)]
        if event is None or not wanting:
            return ()
        fallback = fallbacks.get(change.order.source, "cp1252")
        if event is Event.RESULTS:
            return tuple(_results(change, wanting, fallback, new_control_id))
        origin = read_origin(change.order, change.messages(), fallback)
        return tuple(order_status(change, event, one, origin, control_id=new_control_id()) for one in wanting)

    return announce


def _wants(destination: Destination, event: Event, change: Change) -> bool:
    """Whether the destination is to hear of it: not of what a message of its own listener asked for, but for `echo`."""
    if event not in destination.events or change.order.source not in destination.sources:
        return False
    if destination.echo or not change.evidence.startswith("message:"):
        return True
    asked = [one for one in change.messages() if change.evidence == f"message:{one.id}"]
    return not any(one.protocol is Protocol.HL7V2 and one.source in destination.sources for one in asked)


def _results(
    change: Change, wanting: list[Destination], fallback: str, new_control_id: Callable[[], str]
) -> Iterator[Outgoing]:
    assert change.study is not None  # the action that is told as results always has one
    messages = change.messages()
    for one in wanting:
        asked = standing((change.order, *_others(change, one)))
        found = _distinct(
            Asked(origin=read_origin(order, messages, fallback), state=order.state) for order in asked
        )
        yield study_results(change, change.study, one, found, control_id=new_control_id())


def _others(change: Change, destination: Destination) -> list[Order]:
    """The other orders that the same study is for, of the same sender."""
    return [
        order
        for order in change.orders
        if order.id != change.order.id and order.source == change.order.source in destination.sources
    ]


def _distinct(asked: Iterable[Asked]) -> list[Asked]:
    """Steps of one order are one to its sender: each pair of order numbers once, done when one of them is."""
    named: dict[tuple[str | None, ...], Asked] = {}
    for one in asked:
        number = one.origin.orc.get(2), one.origin.orc.get(3), one.origin.obr.get(18)
        first = named.setdefault(number, one)
        if one.state is State.COMPLETED:
            named[number] = replace(first, state=State.COMPLETED)
    return list(named.values())
