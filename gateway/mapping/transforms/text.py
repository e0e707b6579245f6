"""Transforms of text."""

import re
import unicodedata

from gateway.mapping.scope import Data, Run, text_of
from gateway.mapping.transforms.shape import (
    Apply,
    Arguments,
    Parameter,
    Setting,
    Transform,
    each_text,
    whole,
)

_BRACES = re.compile(r"\{([^{}]*)\}")
_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")


def _truncate(arguments: Arguments, setting: Setting) -> Apply:
    length = int(arguments["n"])
    return each_text(lambda text: text.strip()[:length])


def _pad(arguments: Arguments, setting: Setting) -> Apply:
    length, char = int(arguments["n"]), arguments["char"]
    if len(char) != 1:
        raise ValueError("char is one character")
    return each_text(lambda text: text.rjust(length, char))


def _replace(arguments: Arguments, setting: Setting) -> Apply:
    if not arguments["from"]:
        raise ValueError("from is empty")
    return each_text(lambda text: text.replace(arguments["from"], arguments["to"]))


def _regex(arguments: Arguments, setting: Setting) -> Apply:
    try:
        pattern = re.compile(arguments["match"])
    except re.error as fault:
        raise ValueError(f"match is no regular expression: {fault}") from None
    group = int(arguments["group"])
    if group > pattern.groups:
        raise ValueError(f"the expression has no group {group}")

    def matched(text: str) -> str:
        match = pattern.search(text)
        return (match[group] or "") if match else ""

    return each_text(matched)


def _split(arguments: Arguments, setting: Setting) -> Apply:
    separator, number = arguments["sep"], int(arguments["n"])
    if not separator or not number:
        raise ValueError("sep is a text and n counts from 1")

    def nth(text: str) -> str:
        parts = text.split(separator)
        return parts[number - 1] if number <= len(parts) else ""

    return each_text(nth)


def _join(arguments: Arguments, setting: Setting) -> Apply:
    return whole(lambda data: (arguments["sep"].join(text_of(datum) for datum in data),) if data else ())


def _prefix(arguments: Arguments, setting: Setting) -> Apply:
    return each_text(lambda text: arguments["text"] + text)


def _suffix(arguments: Arguments, setting: Setting) -> Apply:
    return each_text(lambda text: text + arguments["text"])


def _drop_prefix(arguments: Arguments, setting: Setting) -> Apply:
    return each_text(lambda text: text.removeprefix(arguments["text"]))


def _drop_suffix(arguments: Arguments, setting: Setting) -> Apply:
    return each_text(lambda text: text.removesuffix(arguments["text"]))


def _newline_to(arguments: Arguments, setting: Setting) -> Apply:
    return each_text(lambda text: _LINE_ENDS.sub(lambda _: arguments["text"], text.strip()))


def _template(arguments: Arguments, setting: Setting) -> Apply:
    """Values of other paths set into a text; `{}` is the value at hand. Nothing when all of them are empty."""
    pieces = _BRACES.split(arguments["text"])
    if len(pieces) == 1:
        raise ValueError("the template names no path in braces")
    texts = pieces[0::2]
    paths = [setting.compile_path(piece) if piece else None for piece in pieces[1::2]]

    def apply(data: Data, run: Run) -> Data:
        found = [path.read(run.scope)[:1] if path else () for path in paths]
        values = [
            (text_of(hit[0].datum) if hit and not hit[0].is_null else "")
            if path
            else (text_of(data[0]) if data else "")
            for path, hit in zip(paths, found, strict=True)
        ]
        if not any(value.strip() for value in values):
            return ()
        return ("".join(text + value for text, value in zip(texts, [*values, ""], strict=True)),)

    return apply


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ø", "o").replace("Ø", "O"))
    return plain.encode("ascii", "ignore").decode("ascii")


def _unzeroed(text: str) -> str:
    bare = text.strip()
    return bare.lstrip("0") or bare[-1:]


_TEXT = (Parameter(name="text"),)

TRANSFORMS = (
    Transform(name="strip", about="no blanks around the text", make=lambda a, s: each_text(str.strip)),
    Transform(name="upper", about="upper case", make=lambda a, s: each_text(str.upper)),
    Transform(name="lower", about="lower case", make=lambda a, s: each_text(str.lower)),
    Transform(name="title", about="Each Word Capitalised", make=lambda a, s: each_text(str.title)),
    Transform(
        name="digits",
        about="digits only",
        make=lambda a, s: each_text(lambda text: "".join(re.findall("[0-9]", text))),
    ),
    Transform(
        name="truncate",
        about="at most n characters",
        make=_truncate,
        parameters=(Parameter(name="n", is_number=True),),
    ),
    Transform(
        name="pad",
        about="filled up on the left to n characters",
        make=_pad,
        parameters=(Parameter(name="n", is_number=True), Parameter(name="char", default="0")),
    ),
    Transform(
        name="replace",
        about="every `from` replaced by `to`",
        make=_replace,
        parameters=(Parameter(name="from"), Parameter(name="to", default="")),
    ),
    Transform(
        name="regex",
        about="what a regular expression (or its group) matches; nothing when it does not",
        make=_regex,
        parameters=(Parameter(name="match"), Parameter(name="group", is_number=True, default="0")),
    ),
    Transform(
        name="split",
        about="part n of a text cut at sep",
        make=_split,
        parameters=(Parameter(name="sep"), Parameter(name="n", is_number=True, default="1")),
    ),
    Transform(name="join", about="all values in one text", make=_join, parameters=(Parameter(name="sep"),)),
    Transform(name="prefix", about="a text before it", make=_prefix, parameters=_TEXT),
    Transform(name="suffix", about="a text behind it", make=_suffix, parameters=_TEXT),
    Transform(name="drop_prefix", about="without this beginning", make=_drop_prefix, parameters=_TEXT),
    Transform(name="drop_suffix", about="without this end", make=_drop_suffix, parameters=_TEXT),
    Transform(
        name="newline_to",
        about="line ends replaced",
        make=_newline_to,
        parameters=(Parameter(name="text", default=" "),),
    ),
    Transform(name="template", about="a text with paths in braces", make=_template, parameters=_TEXT),
    Transform(name="ascii_fold", about="letters without accents", make=lambda a, s: each_text(_fold)),
    Transform(name="strip_leading_zeros", about="no zeros in front", make=lambda a, s: each_text(_unzeroed)),
)
