"""Style sheet, script and icon: read once, named with a digest of their content so that browsers keep them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.responses import Response

from gateway.model.errors import NotFound
from gateway.web.site import Site, Visit

_FOLDER = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of ours."""

    content: bytes
    kind: str
    digest: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file of ours by name, read at the first call."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _KINDS}


def address(name: str) -> str:
    """The asset's address with its digest. Raises KeyError for one that is not there."""
    return f"/static/{name}?v={assets()[name].digest}"


def asset(site: Site, visit: Visit) -> Response:
    """The file. Raises NotFound."""
    found = assets().get(str(visit.params["name"]))
    if found is None:
        raise NotFound("there is no such file")
    is_named = visit.query.get("v") == found.digest
    return Response(
        found.content, media_type=found.kind, headers={"Cache-Control": _FOREVER if is_named else "no-cache"}
    )


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content=content, kind=_KINDS[path.suffix], digest=hashlib.sha256(content).hexdigest()[:12])
