"""Our public keys, for servers that check what we sign. Source: SMART App Launch 2.2, JWKS; RFC 8414, well-known."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.fhir.keys import key_set
from gateway.model.errors import Invalid


def routes(files: tuple[Path, ...]) -> list[Route]:
    """GET /.well-known/jwks.json, where anybody may read the public halves; nothing without a key."""

    def show(_: Request) -> Response:
        """The files are read each time, so that a new key counts without a restart."""
        try:
            found = key_set(files)
        except Invalid:
            return JSONResponse({"keys": []}, 503)
        return JSONResponse(found, headers={"Cache-Control": "max-age=300"})

    return [Route("/.well-known/jwks.json", show, methods=["GET"])] if files else []
