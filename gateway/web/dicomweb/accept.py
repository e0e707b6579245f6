"""What a client takes: media ranges with their parameters, the best first.

Source: RFC 9110 12.5.1, DICOM PS3.18 8.7.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from gateway.model.errors import GatewayError, Malformed

MULTIPART = "multipart/related"
DICOM = "application/dicom"
JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
ANY = "*"

_LONGEST = 4096
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z/-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARAMETER = re.compile(rf"\s*;\s*({_WORD})\s*=\s*({_QUOTED}|{_WORD})")
_RANGE = re.compile(rf"\s*({_WORD})((?:{_PARAMETER.pattern})*)\s*(?:,|$)")


class Unacceptable(GatewayError):
    """Nothing that there is, is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One of the media types that a client takes, in small letters."""

    kind: str  # "multipart/related", "image/*", "*/*"
    parameters: Mapping[str, str]

    def takes(self, kind: str) -> bool:
        """Whether content of that media type will do."""
        return self.kind in ("*/*", kind, f"{kind.partition('/')[0]}/*")

    def takes_parts(self, kind: str) -> bool:
        """Whether a multipart message of such parts will do; without `type` of any."""
        return self.takes(MULTIPART) and self.parameters.get("type", kind) in (kind, "*/*")

    def takes_syntax(self, uid: str) -> bool:
        """Whether that transfer syntax will do. Without the parameter the stored one does, whichever it is."""
        return self.parameters.get("transfer-syntax", ANY) in (ANY, uid)


def ranges(request: Request) -> tuple[Range, ...]:
    """What the client takes, the best first; everything when it does not say.

    The query parameter `accept` wins over the header. Source: DICOM PS3.18 8.3.3.1. Raises Malformed.
    """
    text = request.query_params.get("accept") or ",".join(request.headers.getlist("accept"))
    return read_ranges(text) if text.strip() else (Range(kind="*/*", parameters={}),)


def read_ranges(text: str) -> tuple[Range, ...]:
    """The media ranges in `text`, the best first; those of quality 0 are left out. Raises Malformed."""
    if len(text) > _LONGEST:
        raise Malformed("accept: too long")
    found: list[tuple[float, Range]] = []
    at = 0
    while at < len(text.rstrip(", \t")):
        match = _RANGE.match(text, at)
        if match is None:
            raise Malformed("accept: no list of media types")
        at = match.end()
        pairs = {name.lower(): _plain(value) for name, value in _PARAMETER.findall(match[2])}
        found.append((_quality(pairs.pop("q", "1")), Range(kind=match[1].lower(), parameters=pairs)))
    found.sort(key=lambda pair: -pair[0])
    return tuple(one for quality, one in found if quality > 0)


def check(wanted: Iterable[Range], *kinds: str) -> str:
    """The first of `kinds` that will do. Raises Unacceptable."""
    for one in wanted:
        for kind in kinds:
            if one.takes(kind):
                return kind
    raise Unacceptable(f"accept: only {' or '.join(kinds)} can be had here")


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]).lower() if value.startswith('"') else value.lower()


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        raise Malformed("accept: q is no number") from None
