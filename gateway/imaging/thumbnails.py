"""Small pictures of stored objects for the page."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from gateway.imaging.pixels import MAX_PIXELS, Frame, read_first_frame

_QUALITY = 88  # of 100: text in ultrasound images stays readable
_REDUCING_GAP = 3.0  # large frames are first shrunk roughly, to three times the wanted size


def render_thumbnail(path: Path, *, size: int = 200, max_pixels: int = MAX_PIXELS) -> bytes | None:
    """The first frame as a JPEG, its longer side `size` pixels; None when the object has no picture.

    Pixels that are not square are drawn as they are meant. Smaller frames are enlarged.
    Raises Refused when a frame has more than `max_pixels` rows times columns, Malformed when it cannot be
    decoded, Unavailable when the file cannot be opened.
    """
    frame = read_first_frame(path, max_pixels=max_pixels)
    if frame is None:
        return None
    picture = Image.fromarray(frame.pixels)
    shrunk = picture.resize(_fit(frame, size), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    encoded = BytesIO()
    shrunk.save(encoded, format="JPEG", quality=_QUALITY)
    return encoded.getvalue()


def _fit(frame: Frame, size: int) -> tuple[int, int]:
    """Width and height in which the frame's longer side is `size` pixels."""
    rows, columns = frame.pixels.shape[:2]
    height, width = rows * frame.aspect, float(columns)
    scale = size / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
