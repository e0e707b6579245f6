"""The modules of a folder kept up to date: a changed file counts once it is proved, a bad one changes nothing."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gateway.mapping.module import Module
from gateway.mapping.registry import Modules, ties
from gateway.model.errors import Conflict

Stamp: TypeAlias = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of every file of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The modules in use, and those that the folder would give when that is something else."""

    active: Modules
    pending: Modules | None  # None: what the folder holds is in use


def stamp(folder: Path) -> Stamp:
    """What changes when a file of the folder does: tables and examples count too."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:  # gone since it was listed
            continue
        if path.is_file():
            found.append((str(path.relative_to(folder)), status.st_mtime_ns, status.st_size))
    return tuple(found)


def refreshed(old: Modules, folder: Path, site: Mapping[str, str], custom: Sequence[str] = ()) -> Modules:
    """The modules of the folder; one whose file is faulty now stays as it was in `old`.

    A module whose file is gone, or holds another module now, is gone; when the whole folder is, nothing is.
    """
    if not folder.is_dir():
        return Modules(modules_of(old), Modules.load(folder, site=site, custom=custom).faults)
    fresh = Modules.load(folder, site=site, custom=custom)
    used = {module.name: module for module in modules_of(fresh)}
    files = {module.mark.file for module in used.values()}
    kept = {
        module.name: module
        for module in modules_of(old)
        if module.name not in used and module.mark.file not in files and (folder / module.mark.file).is_file()
    }
    together = tuple({**used, **kept}.values())
    tied = dict(ties(together))
    if not tied:
        return Modules(together, fresh.faults, fresh.warnings)
    return Modules(modules_of(old), (*fresh.faults, *tied.values()), fresh.warnings)


def modules_of(modules: Modules) -> tuple[Module, ...]:
    """Every module in use, by name."""
    return tuple(modules.module(name) for name in modules.names)


def versions(modules: Modules) -> dict[str, str]:
    """The version of each module in use."""
    return {module.name: module.ref.version for module in modules_of(modules)}


def edition(modules: Modules) -> str:
    """A short text that is another one when any module in use is another one."""
    return ",".join(f"{name}@{version}" for name, version in versions(modules).items())


class Watch:
    """The modules of a folder as they stand. `look` sees changes; with `is_automatic` they count at once.

    `custom` are the files of its transforms that may be used. `tell` hears of the modules that were read last.
    """

    def __init__(
        self,
        folder: Path,
        site: Mapping[str, str],
        *,
        custom: Sequence[str] = (),
        is_automatic: bool = True,
        tell: Callable[[Modules], None] = lambda _: None,
    ) -> None:
        self.is_automatic = is_automatic
        self._folder = folder
        self._site = site
        self._custom = custom
        self._tell = tell
        self._lock = threading.Lock()
        self._seen = stamp(folder)
        self._standing = Standing(active=Modules.load(folder, site=site, custom=custom), pending=None)

    @property
    def standing(self) -> Standing:
        """What is in use now, and what waits."""
        return self._standing

    @property
    def active(self) -> Modules:
        """The modules in use."""
        return self._standing.active

    def look(self) -> bool:
        """Whether the folder has changed since the last look; if so it was read again."""
        with self._lock:
            now = stamp(self._folder)
            if now == self._seen:
                return False
            found = refreshed(self.active, self._folder, self._site, self._custom)
            self._seen = now
            self._standing = self._next(found)
        self._tell(found)
        return True

    def activate(self, wanted: str) -> Modules:
        """The modules that waited are in use. `wanted` is the `edition` that somebody looked at.

        Raises Conflict when nothing waits, or something else does by now.
        """
        with self._lock:
            pending = self._standing.pending
            if pending is None:
                raise Conflict("nothing waits to be activated")
            if edition(pending) != wanted:
                raise Conflict("the files changed again since; look at the differences once more")
            self._standing = Standing(active=pending, pending=None)
        self._tell(pending)
        return pending

    def _next(self, found: Modules) -> Standing:
        active = self.active
        if self.is_automatic:
            return Standing(active=found, pending=None)
        shown = Modules(modules_of(active), found.faults, found.warnings)
        is_same = edition(found) == edition(active)
        return Standing(active=shown, pending=None if is_same else found)
