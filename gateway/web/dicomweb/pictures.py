"""Pictures of an instance: the small one that was made when it came. Source: DICOM PS3.18 10.4.1.1.3, 10.4.1.1.5."""

from starlette.responses import Response

from gateway.model.errors import Malformed, NotFound
from gateway.web.dicomweb.accept import check, ranges
from gateway.web.dicomweb.asked import Asked

_KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_KEPT_S = 3600


def picture(asked: Asked) -> Response:
    """The first frame, small, as JPEG or PNG. No pixels are decoded here (decision 005).

    Raises Malformed for a wish about the picture: it cannot be granted, and must not pass for granted.
    """
    if set(asked.request.query_params) - {"accept"}:
        raise Malformed("query: the picture is served as it is, without parameters")
    wanted = ranges(asked.request)
    (held,) = asked.objects()
    if not held.thumbnail:
        raise NotFound("the object has no picture, or none yet")
    try:
        content = asked.service.ports.files.path(held.thumbnail).read_bytes()
    except FileNotFoundError:
        raise NotFound("the object's picture is gone from the disk") from None
    kind = next((kind for mark, kind in _KINDS.items() if content.startswith(mark)), None)
    if kind is None:
        raise NotFound("the object's picture is of no known kind")
    check(wanted, kind)
    return Response(content, media_type=kind, headers={"Cache-Control": f"private, max-age={_KEPT_S}"})
