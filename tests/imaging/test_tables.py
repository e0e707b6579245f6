"""Palettes and lookup tables in the many ways they are written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.imaging.pixels import read_first_frame
from gateway.imaging.tables import Table, read_palette, read_table
from gateway.model.errors import Malformed

COLOURS = ("Red", "Green", "Blue")


def test_a_palette_of_sixteen_bits_is_shown_in_eight() -> None:
    palette = read_palette(_palette([4, 0, 16], [0, 0x00FF, 0xFF00, 0xFFFF]), is_little_endian=True)
    assert palette[0].look_up(np.arange(4)).tolist() == [0, 0, 254, 255]


def test_a_palette_of_sixteen_bits_that_holds_bytes_is_taken_as_it_is() -> None:
    palette = read_palette(_palette([3, 0, 16], [0, 7, 255]), is_little_endian=True)
    assert palette[2].look_up(np.arange(3)).tolist() == [0, 7, 255]


def test_a_palette_of_packed_bytes_is_read() -> None:
    header = Dataset()
    for colour in COLOURS:
        header.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [4, 0, 8])
        header.add_new(f"{colour}PaletteColorLookupTableData", "OW", bytes([1, 2, 3, 4]))
    assert read_palette(header, is_little_endian=True)[0].entries.tolist() == [1, 2, 3, 4]
    assert read_palette(header, is_little_endian=False)[0].entries.tolist() == [2, 1, 4, 3]


def test_a_palette_may_begin_below_zero() -> None:
    header = _palette([3, 0x10000 - 1, 8], [10, 20, 30])
    header.PixelRepresentation = 1
    table = read_palette(header, is_little_endian=True)[0]
    assert table.look_up(np.array([-5, -1, 0, 1, 9])).tolist() == [10, 10, 20, 30, 30]


def test_sixty_five_thousand_entries_are_written_as_zero() -> None:
    header = _palette([0, 0, 16], list(range(0x10000)))
    assert len(read_palette(header, is_little_endian=True)[0].entries) == 0x10000


def test_a_segmented_palette_is_expanded() -> None:
    header = Dataset()
    header.set_original_encoding(False, True)
    # A discrete segment (0) of two entries, then a linear one (1) of four more up to 200.
    segments = np.array([0, 2, 10, 100, 1, 4, 200], dtype="<u2").tobytes()
    for colour in COLOURS:
        header.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [6, 0, 16])
        header.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", segments)
    entries = read_palette(header, is_little_endian=True)[0].entries.tolist()
    assert entries == [10, 100, 125, 150, 175, 200]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_a_palette_image_has_its_colours_in_every_encoding(
    write_image: Callable[..., Path], syntax: str
) -> None:
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    tables = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour, entries in zip(COLOURS, ([0, 0xFF00], [0x8000, 0], [0xFF00, 0x4000]), strict=True)
        for part, value in (("Descriptor", [2, 0, 16]), ("Data", np.array(entries, dtype=order).tobytes()))
    }
    path = write_image(
        np.array([[0, 1]], dtype=np.uint16).astype(order),
        syntax=syntax,
        PhotometricInterpretation="PALETTE COLOR",
        PixelData=np.array([0, 1], dtype=order).tobytes(),
        **tables,
    )
    frame = read_first_frame(path)
    assert frame is not None
    assert frame.pixels.tolist() == [[[0, 127, 254], [254, 0, 63]]]


@pytest.mark.parametrize(("descriptor", "entries"), [([], [1]), ([1, 0], [1]), ([2, 0, 8], [])])
def test_a_table_without_its_parts_is_malformed(descriptor: list[int], entries: list[int]) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "US", entries)
    with pytest.raises(Malformed):
        read_table(item, is_signed=False, is_little_endian=True)


def test_a_palette_image_without_tables_is_malformed() -> None:
    with pytest.raises(Malformed):
        read_palette(Dataset(), is_little_endian=True)


@given(
    first=st.integers(-0x8000, 0xFFFF),
    entries=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20),
    value=st.integers(-0x8000, 0xFFFF),
)
def test_every_value_finds_an_entry(first: int, entries: list[int], value: int) -> None:
    table = Table(first=first, entries=np.array(entries, dtype=np.uint16), bits=16)
    place = min(max(value - first, 0), len(entries) - 1)
    assert table.look_up(np.array([value])).tolist() == [entries[place]]


def _palette(descriptor: list[int], entries: list[int]) -> Dataset:
    header = Dataset()
    for colour in COLOURS:
        header.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", descriptor)
        header.add_new(f"{colour}PaletteColorLookupTableData", "OW", np.array(entries, dtype="<u2").tobytes())
    return header
