"""A condition on one text, as SQL over its column and as Python over its value.

SQL narrows; Python decides the wildcards and the case of letters, because databases differ in both.
"""

import re

from sqlalchemy import ColumnElement, and_, func, or_

from gateway.model.worklist import Match

_FOREIGN = re.compile(r"[^\x00-\x7f]")


def matches(match: Match, column: "ColumnElement[str]") -> ColumnElement[bool]:
    """At least what `accepts` takes."""
    if not match.is_wild and not match.ignore_case:
        return column.in_(match.values)
    return and_(column != "", or_(*(_like(value, column, match) for value in match.values)))


def accepts(match: Match, text: str) -> bool:
    """Whether `text` meets the condition; an empty one never does. `*` is any run, `?` any one character."""
    return text != "" and any(_fits(value, text, match) for value in match.values)


def _like(value: str, column: "ColumnElement[str]", match: Match) -> ColumnElement[bool]:
    pattern = value.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    if match.is_wild:
        pattern = pattern.replace("*", "%").replace("?", "_")
    if match.ignore_case:  # what lies beyond ASCII has its own rules of case in every database
        return func.upper(column).like(_FOREIGN.sub("%", pattern).upper(), escape="!")
    return column.like(pattern, escape="!")


def _fits(value: str, text: str, match: Match) -> bool:
    if match.ignore_case:
        value, text = value.lower(), text.lower()
    if not match.is_wild:
        return value == text
    return _matches_wildcards(value, text)


def _matches_wildcards(pattern: str, text: str) -> bool:
    """Greedy, going back to the last `*` only: a hostile pattern takes no longer than its length times the text's."""
    at = read = resumed = 0
    star = -1
    while read < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resumed = at, read
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[read]):
            at, read = at + 1, read + 1
        elif star >= 0:
            resumed += 1
            at, read = star + 1, resumed
        else:
            return False
    return not pattern[at:].strip("*")
