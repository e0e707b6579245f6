"""Files of images: written whole, named and fsynced before they are recorded; never altered."""

import fcntl
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import IO

from gateway.model.errors import Invalid, Unavailable
from gateway.model.ids import Uid

_SETTLERS = 8  # files on their way to the disk at once


class Settling:
    """A file on its way to the disk: it is settled while other work is done."""

    def __init__(self, done: "Future[None]") -> None:
        self._done = done

    def wait(self) -> None:
        """The file's content is durable. Raises OSError when the disk could not take it."""
        self._done.result()


class Files:
    """A folder of objects and their thumbnails. Names are digests of UIDs: nothing a peer sends becomes a path."""

    def __init__(self, root: Path) -> None:
        """Nothing is made yet: who only looks leaves no folder behind."""
        self._root = root
        self._lock: IO[str] | None = None
        self._settlers = ThreadPoolExecutor(_SETTLERS, thread_name_prefix="settle")

    @cached_property
    def incoming(self) -> Path:
        """The folder for files being written; on the same file system, so that naming them is one step.

        It is made with the folder itself. Raises Invalid when it cannot be.
        """
        folder = self._root / "incoming"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Invalid(f"store.files: {folder} cannot be made: {error.strerror}") from None
        return folder

    def take(self) -> None:
        """This process alone receives into the folder, and nothing half-written of an earlier one is left in it.

        Raises Unavailable when another process does, Invalid when the folder cannot be made.
        """
        incoming = self.incoming
        lock = (self._root / "receiving").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise Unavailable("store.files: another gateway receives images into this folder") from None
        self._lock = lock
        for left in incoming.iterdir():
            left.unlink()

    def release(self) -> None:
        """Another process may receive into the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def settle(self, written: Path) -> "Settling":
        """What was written is on its way from the cache to the disk itself, whatever it is named meanwhile.

        Raises OSError when there is no such file.
        """
        descriptor = os.open(written, os.O_RDONLY)
        return Settling(self._settlers.submit(_sync_open, descriptor))

    def keep(self, written: Path, study_uid: Uid, sop_uid: Uid) -> str:
        """The path of the object, relative to the folder, once it stands there durably.

        `written` must lie in `incoming`; its content is durable when it is settled too. Raises OSError when the
        disk cannot take it.
        """
        return self._place(written, f"{_digest(study_uid)}/{_digest(sop_uid)}.dcm")

    def keep_aside(self, written: Path, sop_uid: Uid, sha256: str) -> str:
        """The path of an object that may not stand where its UID says, relative to the folder, once it is durable.

        `written` is as for `keep`; `sha256` tells it from others with its UID. Raises OSError.
        """
        return self._place(written, f"aside/{_digest(sop_uid)}-{_digest(Uid(sha256))}.dcm")

    def keep_thumbnail(self, of: str, picture: bytes) -> str:
        """The path of the picture beside its object `of`, relative to the folder."""
        relative = f"{of.removesuffix('.dcm')}.thumb"
        target = self.path(relative)
        part = target.with_suffix(".part")
        part.write_bytes(picture)
        part.replace(target)
        return relative

    def discard(self, relative: str) -> None:
        """The object is gone; for one that could not be recorded."""
        self.path(relative).unlink(missing_ok=True)

    def path(self, relative: str) -> Path:
        """Where the file is."""
        return self._root / relative

    def _place(self, written: Path, relative: str) -> str:
        target = self.path(relative)
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(self._root)
        written.replace(target)
        _sync(target.parent)
        return relative


def _digest(uid: Uid) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:40]


def _sync(path: Path) -> None:
    _sync_open(os.open(path, os.O_RDONLY))


def _sync_open(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
