"""WADO-RS: what objects say of themselves, without their pixels. Source: DICOM PS3.18 10.4.1.1.2."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from starlette.responses import Response, StreamingResponse

from gateway.model.errors import Malformed, Refused
from gateway.store.held_objects import HeldObject
from gateway.web.dicomweb.accept import JSON, check, ranges
from gateway.web.dicomweb.asked import Asked
from gateway.web.dicomweb.header_json import header_json
from gateway.web.dicomweb.retrieve import stored_file

log = logging.getLogger(__name__)


def metadata(asked: Asked) -> Response:
    """The headers of the study's, the series' or the one instance's objects, one after the other as they are read."""
    check(ranges(asked.request), JSON, "application/json")
    found = asked.objects()
    paths = [stored_file(asked, held)[0] for held in found]
    content = iter(()) if asked.is_head else _array(found, paths)
    return StreamingResponse(content, media_type=JSON)


def _array(found: Sequence[HeldObject], paths: Sequence[Path]) -> Iterator[str]:
    yield "["
    for number, (held, path) in enumerate(zip(found, paths, strict=True)):
        yield ("," if number else "") + _header(held, path)
    yield "]"


def _header(held: HeldObject, path: Path) -> str:
    """What the object says; of one that cannot be read, or no longer, only what it is, as was read when it came."""
    own = {
        "00080016": held.sop_class,
        "00080018": held.sop_uid,
        "0020000D": held.study_uid,
        "0020000E": held.series_uid,
    }
    found = {tag: json.dumps({"vr": "UI", "Value": [uid]}) for tag, uid in own.items()}
    try:
        found |= header_json(path)
    except (Malformed, Refused) as error:
        log.warning("dicomweb.unreadable", extra={"study": held.study_id, "reason": str(error)})
    return "{" + ",".join(f'"{tag}":{found[tag]}' for tag in sorted(found)) + "}"
