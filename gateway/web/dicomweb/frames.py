"""WADO-RS: frames of an instance as they are stored, each a part. Source: DICOM PS3.18 10.4.1.1.6, 8.7.3.5."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from secrets import token_hex

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from starlette.responses import Response, StreamingResponse

from gateway.imaging.stored_frames import Layout, frame, read_layout
from gateway.model.errors import Malformed, NotFound
from gateway.web.dicomweb.accept import MULTIPART, OCTETS, Unacceptable, ranges
from gateway.web.dicomweb.asked import Asked
from gateway.web.dicomweb.retrieve import stored_file

MOST = 1000
"""So many frames are given at once."""

_JPEG = "image/jpeg"
_RLE = ("image/dicom-rle", "image/x-dicom-rle")
_JLS = ("image/jls", "image/x-jls")
_KINDS: dict[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2.4.50": (_JPEG,),
    "1.2.840.10008.1.2.4.51": (_JPEG,),
    "1.2.840.10008.1.2.4.57": (_JPEG,),
    "1.2.840.10008.1.2.4.70": (_JPEG,),
    "1.2.840.10008.1.2.4.80": _JLS,
    "1.2.840.10008.1.2.4.81": _JLS,
    "1.2.840.10008.1.2.4.90": ("image/jp2",),
    "1.2.840.10008.1.2.4.91": ("image/jp2",),
    "1.2.840.10008.1.2.4.92": ("image/jpx",),
    "1.2.840.10008.1.2.4.93": ("image/jpx",),
    "1.2.840.10008.1.2.4.201": ("image/jphc",),
    "1.2.840.10008.1.2.4.202": ("image/jphc",),
    "1.2.840.10008.1.2.4.203": ("image/jphc",),
    "1.2.840.10008.1.2.5": _RLE,
}
"""Media types of compressed frames, the standard's first, then older names. Source: DICOM PS3.18 table 8.7.3-5."""

_WHOLE = frozenset({str(DeflatedExplicitVRLittleEndian), str(ExplicitVRBigEndian)})
_VIDEO = "1.2.840.10008.1.2.4.10"  # MPEG-2, MPEG-4 and HEVC: .100 to .108


def frames(asked: Asked) -> Response:
    """The frames whose numbers the address lists, in its order.

    Raises Malformed for what is no list, NotFound for a frame that is not there or cannot be cut out, Unacceptable.
    """
    numbers = _numbers(str(asked.request.path_params["frames"]))
    wanted = ranges(asked.request)
    (held,) = asked.objects()
    path, _ = stored_file(asked, held)
    if held.transfer_syntax in _WHOLE or held.transfer_syntax.startswith(_VIDEO):
        raise NotFound("frames cannot be cut out of an object in this transfer syntax: retrieve it whole")
    layout = _layout(path)
    if max(numbers) > layout.count:
        raise NotFound("the object has no frame of that number")
    kinds = (*_KINDS.get(layout.syntax, ()), OCTETS)
    for one in wanted:
        is_plain = layout.frame_bytes is not None or "transfer-syntax" in one.parameters
        for kind in kinds:
            # Octets whose encoding nobody named are uncompressed. Source: DICOM PS3.18 8.7.3.3.
            if one.takes_parts(kind) and one.takes_syntax(layout.syntax) and (kind != OCTETS or is_plain):
                return _answer(asked, path, layout, numbers, kind)
    raise Unacceptable(
        f'accept: the frames are {MULTIPART}; type="{kinds[0]}"; transfer-syntax={layout.syntax}'
    )


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) > MOST:
        raise Malformed(f"frames (address): more than {MOST} at once")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 and int(part) > 0 for part in parts):
        raise Malformed("frames (address): no list of numbers from 1 up, with commas")
    return tuple(map(int, parts))


def _layout(path: Path) -> Layout:
    try:
        return read_layout(path)
    except Malformed as error:  # whoever asks is not to blame
        raise NotFound(str(error)) from error


def _answer(asked: Asked, path: Path, layout: Layout, numbers: Sequence[int], kind: str) -> Response:
    boundary = token_hex(16)
    parts = _parts(path, layout, numbers, kind, boundary)
    content = iter(()) if asked.is_head else chain((_first(parts),), parts)
    return StreamingResponse(content, media_type=f'{MULTIPART}; type="{kind}"; boundary={boundary}')


def _first(parts: Iterator[bytes]) -> bytes:
    """What comes first, read ahead: a frame that cannot be read is an error that can still be told."""
    try:
        return next(parts) + next(parts)
    except Malformed as error:
        raise NotFound(str(error)) from error


def _parts(path: Path, layout: Layout, numbers: Sequence[int], kind: str, boundary: str) -> Iterator[bytes]:
    for number in numbers:
        yield (f"\r\n--{boundary}\r\nContent-Type: {kind}; transfer-syntax={layout.syntax}\r\n\r\n").encode(
            "ascii"
        )
        yield from frame(path, layout, number)
    yield f"\r\n--{boundary}--\r\n".encode("ascii")
