import re
from pathlib import Path

import pytest

STYLE = Path(__file__).parents[2] / "gateway" / "web" / "static" / "style.css"
TEXT_ON = (
    ("ink", "page"), ("ink", "card"), ("muted", "page"), ("muted", "card"), ("accent", "card"),
    ("accent", "page"), ("accent", "accent-soft"), ("accent-ink", "accent"), ("ink", "accent-soft"),
    ("warn", "warn-soft"), ("warn", "card"),
    ("bad", "bad-soft"), ("bad", "card"), ("ready", "ready-soft"), ("sent", "sent-soft"), ("busy", "busy-soft"),
    ("done", "done-soft"), ("off", "off-soft"), ("ink", "glow"), ("muted", "glow"), ("accent", "warn-soft"),
)  # fmt: skip
DRAWN_ON = (("edge", "card"), ("edge", "page"), ("focus", "card"), ("focus", "page"))


def colours(scheme: str) -> dict[str, str]:
    """The colours of the light or the dark scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)[:2]
    found = re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark)
    return dict(found)


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, "relative luminance"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_edges_stand_out_as_wcag_asks(scheme: str) -> None:
    known = colours(scheme)
    weak = [
        (front, back, round(contrast(known[front], known[back]), 2))
        for pairs, least in ((TEXT_ON, 4.5), (DRAWN_ON, 3.0))
        for front, back in pairs
        if contrast(known[front], known[back]) < least
    ]
    assert weak == []
