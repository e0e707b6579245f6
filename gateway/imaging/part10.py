"""A stored object opened for reading: inflated when it is deflated, pydicom's complaints turned into ours.

One thread reads at a time, the others wait: silencing warnings is not safe beside another one that does.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from gateway.imaging.bounded import Bounded
from gateway.model.errors import Malformed, Refused, Unavailable

MAX_INFLATED = 512 * 1024 * 1024
"""The most bytes a deflated data set may grow to."""

_PREFIX = 128 + len(b"DICM")  # Source: DICOM PS3.10 7.1
_GROUP_LENGTH_ELEMENT = 12  # (0002,0000) UL itself, which its value does not count
_CHUNK = 1024 * 1024
_turn = threading.RLock()
_RUST_PANICS = "pyo3_runtime"  # the module of the exception that stands for a panic of the RLE decoder

_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)  # what pydicom, its decoders and numpy raise on hostile input


@contextmanager
def open_object(path: Path, max_inflated: int = MAX_INFLATED) -> Iterator[BinaryIO]:
    """The object's bytes at their start, its data set never deflated.

    Inside the block pydicom's warnings are silent, and whatever it raises on a broken object leaves as Malformed.
    Raises Unavailable when the file cannot be opened, Refused when it inflates beyond `max_inflated` bytes.
    """
    try:
        file = path.open("rb")
    except OSError:
        raise Unavailable("the object's file cannot be opened") from None
    with file, _turn, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield _inflated(file, path, max_inflated)
        except BaseException as error:
            if not _is_the_objects_fault(error):
                raise
            raise Malformed(f"data set: cannot be read ({type(error).__name__})") from None


def read_header(file: BinaryIO | Bounded, keywords: Iterable[str]) -> Dataset:
    """The named elements of the data set before its pixels; `file` is left at the pixel element or at its end."""
    tags = [tag for tag in map(tag_for_keyword, keywords) if tag is not None]
    return dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(tags))


def _is_the_objects_fault(error: BaseException) -> bool:
    """Whether a broken object may raise it. A panic is no Exception; Ctrl-C and the like are nobody's fault."""
    return isinstance(error, _UNREADABLE) or type(error).__module__ == _RUST_PANICS


def _inflated(file: BinaryIO, path: Path, max_inflated: int) -> BinaryIO:
    """`file`, or the same object as Explicit VR Little Endian when it is deflated. Source: DICOM PS3.5 A.5."""
    try:
        meta = read_file_meta_info(path)
    except InvalidDicomError:
        return file
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return file
    file.seek(_PREFIX + _GROUP_LENGTH_ELEMENT + meta.FileMetaInformationGroupLength)
    plain = BytesIO(_plain_prefix())
    plain.seek(0, 2)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof and (chunk := inflater.unconsumed_tail or file.read(_CHUNK)):
        plain.write(inflater.decompress(chunk, _CHUNK))
        if plain.tell() > max_inflated:
            raise Refused("data set: inflates beyond the limit")
    if not inflater.eof:
        raise Malformed("data set: the deflated bytes end too soon")
    plain.seek(0)
    return plain


def _plain_prefix() -> bytes:
    """Preamble and the one file meta element that names the transfer syntax."""
    uid = ExplicitVRLittleEndian.encode("ascii")
    uid += b"\0" * (len(uid) % 2)
    return bytes(128) + b"DICM" + struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", len(uid)) + uid
