"""Transforms that choose among values or bring one in from the module."""

import re

from gateway.mapping.scope import Data, Run, text_of
from gateway.mapping.transforms.dates import day_of
from gateway.mapping.transforms.shape import Apply, Arguments, Parameter, Setting, Transform, each_text, whole
from gateway.model.order import UnknownCode


def _nth(arguments: Arguments, setting: Setting) -> Apply:
    number = int(arguments["n"])
    if not number:
        raise ValueError("n counts from 1")
    return whole(lambda data: data[number - 1 : number])


def _filter(arguments: Arguments, setting: Setting) -> Apply:
    try:
        pattern = re.compile(arguments["match"])
    except re.error as fault:
        raise ValueError(f"match is no regular expression: {fault}") from None
    return each_text(lambda text: text if pattern.search(text) else "")


def _constant(arguments: Arguments, setting: Setting) -> Apply:
    return whole(lambda data: (arguments["text"],))


def _lookup_site(arguments: Arguments, setting: Setting) -> Apply:
    if arguments["name"] not in setting.site:
        raise ValueError(f"'{arguments['name']}' is no site value of this module")
    value = setting.site[arguments["name"]]
    return whole(lambda data: (value,) if value else ())


def _table(arguments: Arguments, setting: Setting) -> Apply:
    table = setting.tables.get(arguments["name"])
    if table is None:
        raise ValueError(f"'{arguments['name']}' is no table of this module")

    def found(data: Data, run: Run) -> Data:
        day = day_of(run) if table.is_dated else None
        texts = [text_of(datum) for datum in data]
        made = [table.find(text, day) for text in texts]
        if None in made:
            unmet = (text.strip() for text, to in zip(texts, made, strict=True) if to is None)
            run.unknown.extend(UnknownCode(table=table.name, code=text) for text in unmet if text)
        return tuple(text for text in made if text)

    return found


def _unique(data: Data) -> Data:
    return tuple(dict.fromkeys(text_of(datum) for datum in data))


def _longest(data: Data) -> Data:
    return (max((text_of(datum) for datum in data), key=len),) if data else ()


def _null_to_empty(data: Data, run: Run) -> Data:
    return tuple(datum for datum in data if text_of(datum) != '""')


TRANSFORMS = (
    Transform(name="first", about="the first value", make=lambda a, s: whole(lambda data: data[:1])),
    Transform(name="last", about="the last value", make=lambda a, s: whole(lambda data: data[-1:])),
    Transform(
        name="nth", about="value number n", make=_nth, parameters=(Parameter(name="n", is_number=True),)
    ),
    Transform(name="unique", about="each text once", make=lambda a, s: whole(_unique)),
    Transform(name="longest", about="the longest text", make=lambda a, s: whole(_longest)),
    Transform(
        name="filter",
        about="the texts that a regular expression matches",
        make=_filter,
        parameters=(Parameter(name="match"),),
    ),
    Transform(
        name="constant",
        about="this text, whatever stood there",
        make=_constant,
        parameters=(Parameter(name="text"),),
    ),
    Transform(
        name="lookup_site", about="a site value", make=_lookup_site, parameters=(Parameter(name="name"),)
    ),
    Transform(
        name="table",
        about="what a table says; nothing when it does not know the text",
        make=_table,
        parameters=(Parameter(name="name"),),
    ),
    Transform(name="null_to_empty", about='HL7\'s "" counts as absent', make=lambda a, s: _null_to_empty),
)
