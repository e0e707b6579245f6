"""WADO-RS: whole objects, byte for byte as they are stored. Source: DICOM PS3.18 10.4."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from starlette.responses import Response, StreamingResponse

from gateway.imaging.bounded import pieces
from gateway.model.errors import NotFound
from gateway.store.held_objects import HeldObject
from gateway.web.dicomweb.accept import DICOM, MULTIPART, Range, Unacceptable, ranges
from gateway.web.dicomweb.asked import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file and what stands before it in the message."""

    head: bytes
    path: Path
    size: int


def objects(asked: Asked) -> Response:
    """The study, the series or the instance: a multipart message, or one object as it is where that is taken.

    Raises NotFound, also when one of the files is gone: what is incomplete is not served as if it were whole.
    """
    wanted = ranges(asked.request)
    found = asked.objects()
    for one in wanted:
        fits = all(one.takes_syntax(held.transfer_syntax) for held in found)
        if fits and one.takes_parts(DICOM):
            return _multipart(asked, found)
        if fits and one.takes(DICOM) and asked.uid("instance"):
            return _single(asked, found[0])
    raise Unacceptable(_why_not(wanted, found, is_single=bool(asked.uid("instance"))))


def _multipart(asked: Asked, found: Sequence[HeldObject]) -> Response:
    boundary = token_hex(16)
    parts = [_part(asked, held, boundary) for held in found]
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(len(part.head) + part.size for part in parts) + len(end)
    kind = f'{MULTIPART}; type="{DICOM}"; boundary={boundary}'
    content = iter(()) if asked.is_head else _message(parts, end)
    return StreamingResponse(content, media_type=kind, headers={"Content-Length": str(length)})


def _part(asked: Asked, held: HeldObject, boundary: str) -> Part:
    """Source: RFC 2387; DICOM PS3.18 8.6.1.2, 8.7.3.5.2 (transfer-syntax)."""
    path, size = stored_file(asked, held)
    place = f"{asked.root}/studies/{held.study_uid}/series/{held.series_uid}/instances/{held.sop_uid}"
    head = (
        f"\r\n--{boundary}\r\nContent-Type: {DICOM}; transfer-syntax={held.transfer_syntax}\r\n"
        f"Content-Length: {size}\r\nContent-Location: {place}\r\n\r\n"
    )
    return Part(head=head.encode("utf-8"), path=path, size=size)


def _single(asked: Asked, held: HeldObject) -> Response:
    path, size = stored_file(asked, held)
    content = iter(()) if asked.is_head else _message([Part(head=b"", path=path, size=size)], b"")
    kind = f"{DICOM}; transfer-syntax={held.transfer_syntax}"
    return StreamingResponse(content, media_type=kind, headers={"Content-Length": str(size)})


def _message(parts: Sequence[Part], end: bytes) -> Iterator[bytes]:
    """The connection breaks off, for all to see, when a file is gone or shorter than it was a moment ago."""
    for part in parts:
        yield part.head
        with part.path.open("rb") as file:
            yield from pieces(file, part.size)
    yield end


def stored_file(asked: Asked, held: HeldObject) -> tuple[Path, int]:
    """The object's file and its size in bytes. Raises NotFound."""
    path = asked.service.ports.files.path(held.path)
    try:
        return path, path.stat().st_size
    except OSError:
        raise NotFound(
            "the file of an object is gone from the disk; the others can be had one by one"
        ) from None


def _why_not(wanted: Sequence[Range], found: Sequence[HeldObject], *, is_single: bool) -> str:
    if any(one.takes_parts(DICOM) or (is_single and one.takes(DICOM)) for one in wanted):
        stored = ", ".join(sorted({held.transfer_syntax for held in found}))
        return f"accept: objects are served in the transfer syntax they are stored in: {stored}"
    single = f", or {DICOM} for one instance" if is_single else ""
    return f'accept: only {MULTIPART}; type="{DICOM}"{single} can be had here'
