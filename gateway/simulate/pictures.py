"""Ultrasound pictures that look the part: a fan of speckle with an organ in it, calipers and a label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
"""Rows by columns, grey; or rows by columns by three, RGB."""

_OPENING = np.deg2rad(38.0)  # half of the fan's angle
_INK = (235, 220, 120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipse:
    """An echo: centre and half axes in fractions of the picture's height, the centre's x from the middle."""

    x: float
    y: float
    wide: float
    high: float
    tilt: float  # radians
    level: float  # brightness of the tissue, 1.0 is that of its surroundings


KIDNEY = (
    Ellipse(x=0.02, y=0.52, wide=0.27, high=0.135, tilt=0.22, level=0.45),
    Ellipse(x=0.02, y=0.52, wide=0.16, high=0.055, tilt=0.22, level=2.3),
    Ellipse(x=-0.05, y=0.86, wide=0.40, high=0.05, tilt=0.08, level=2.0),
)
LIVER = (
    Ellipse(x=0.0, y=0.50, wide=0.42, high=0.30, tilt=-0.15, level=0.85),
    Ellipse(x=0.14, y=0.44, wide=0.05, high=0.035, tilt=0.3, level=0.08),
    Ellipse(x=-0.12, y=0.60, wide=0.10, high=0.022, tilt=-0.5, level=0.12),
    Ellipse(x=0.0, y=0.84, wide=0.38, high=0.025, tilt=-0.12, level=2.8),
)
AORTA = (
    Ellipse(x=0.0, y=0.55, wide=0.10, high=0.10, tilt=0.0, level=0.05),
    Ellipse(x=0.0, y=0.66, wide=0.11, high=0.012, tilt=0.0, level=3.0),
    Ellipse(x=0.0, y=0.80, wide=0.22, high=0.06, tilt=0.0, level=2.1),
)


def sector(echoes: tuple[Ellipse, ...], *, seed: int, width: int, height: int, beat: float = 0.0) -> Pixels:
    """A grey fan with `echoes` in it; the same seed gives the same picture, `beat` (-1 to 1) swells the echoes."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    across, down = (columns - width / 2) / height, rows / height
    depth = np.hypot(across, down + 0.12)
    angle = np.arctan2(across, down + 0.12)
    tissue = np.ones((height, width), np.float32)
    for echo in echoes:
        tissue[_inside(echo, across, down, 1.0 + 0.08 * beat)] = echo.level
    attenuation = np.exp(-0.9 * depth) * (1.0 + 0.25 * np.cos(6.0 * depth))
    echoed = 95.0 * _soften(tissue, 2) * attenuation * _speckle(depth, angle, seed)
    fan = (np.abs(angle) < _OPENING) & (depth > 0.16) & (depth < 1.08)
    return np.where(fan, np.clip(echoed, 4, 255), 0).astype(np.uint8)


def labelled(pixels: Pixels, lines: tuple[str, ...], caliper: Ellipse | None = None) -> Pixels:
    """The same picture in RGB with text at the lower left, a depth scale and, along `caliper`, a dotted measure."""
    picture = Image.fromarray(pixels).convert("RGB")
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    font = ImageFont.load_default(size=max(11, height // 28))
    for tick in range(11):
        pen.line([(width - 14, height * tick // 11), (width - 6, height * tick // 11)], fill=(150, 150, 150))
    for number, line in enumerate(reversed(lines), start=1):
        pen.text((14, height - 10 - number * (height // 22)), line, fill=_INK, font=font)
    if caliper:
        _measure(pen, caliper, width, height)
    return np.asarray(picture, np.uint8)


def _inside(
    echo: Ellipse, across: NDArray[np.float32], down: NDArray[np.float32], size: float
) -> NDArray[np.bool_]:
    x, y = across - echo.x, down - echo.y
    cosine, sine = np.cos(echo.tilt), np.sin(echo.tilt)
    along, crosswise = (x * cosine + y * sine) / echo.wide, (y * cosine - x * sine) / echo.high
    return np.asarray(along**2 + crosswise**2 < size**2)


def _speckle(depth: NDArray[np.float32], angle: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Rayleigh noise on a polar grid: fine along the beam, coarse across it, as an array of crystals gives."""
    noise = np.random.default_rng(seed).rayleigh(0.8, (420, 150)).astype(np.float32)
    row = np.clip(depth / 1.1 * 419, 0, 419).astype(np.intp)
    column = np.clip((angle / _OPENING + 1) * 74.5, 0, 149).astype(np.intp)
    return _soften(noise[row, column], 1)


def _soften(picture: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """The mean over a square of 2 * reach + 1 pixels, edges repeated."""
    for axis in (0, 1):
        shifted = [np.roll(picture, step, axis) for step in range(-reach, reach + 1)]
        picture = np.mean(shifted, axis=0, dtype=np.float32)
    return picture


def _measure(pen: ImageDraw.ImageDraw, echo: Ellipse, width: int, height: int) -> None:
    centre_x, centre_y = width / 2 + echo.x * height, echo.y * height
    reach_x, reach_y = np.cos(echo.tilt) * echo.wide * height, np.sin(echo.tilt) * echo.wide * height
    for step in np.linspace(-1.0, 1.0, 41):
        x, y = centre_x + step * reach_x, centre_y + step * reach_y
        pen.point([(x, y), (x + 1, y)], fill=_INK)
    for end in (-1, 1):
        x, y = centre_x + end * reach_x, centre_y + end * reach_y
        pen.line([(x - 6, y), (x + 6, y)], fill=_INK)
        pen.line([(x, y - 6), (x, y + 6)], fill=_INK)
