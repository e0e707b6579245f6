"""A file of which only so much is read, whatever lengths it claims."""

from collections.abc import Iterator
from typing import BinaryIO

from gateway.model.errors import Malformed

_CHUNK = 256 * 1024
"""So much is in memory at once."""


def pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The next `length` bytes of the file in chunks. Raises Malformed where it ends before."""
    left = length
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise Malformed("the file of an object is shorter than it should be")
        left -= len(chunk)
        yield chunk


class Bounded:
    """A file at its bytes; what is passed over by seeking does not count."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._left = max_bytes

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises Malformed when more than `max_bytes` were read altogether."""
        chunk = self._file.read(self._left + 1 if size is None or size < 0 else min(size, self._left + 1))
        self._left -= len(chunk)
        if self._left < 0:
            raise Malformed("data set: more would have to be read than the limit")
        return chunk

    def seek(self, offset: int, whence: int = 0) -> int:
        """Where the file then stands."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the file stands."""
        return self._file.tell()
