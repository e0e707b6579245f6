"""Which profile a machine has: the one it is given, else the one that knows it."""

import threading
from collections.abc import Mapping
from pathlib import Path

from gateway.dicom.profiles import DEFAULT, Profile
from gateway.dicom.profiles_reading import Library, read_library
from gateway.mapping.loader import did_you_mean
from gateway.mapping.watch import Stamp, stamp


class Machines:
    """Which profile each machine has. `look` reads a changed library again.

    A file that has become faulty leaves its profile as it was.
    """

    def __init__(self, folder: Path | None = None, assigned: Mapping[str, str] | None = None) -> None:
        """`folder` None: nothing but the default. `assigned`: a profile's name by AE title."""
        self._folder = folder
        self._assigned = {title: name for title, name in (assigned or {}).items() if name}
        self._lock = threading.Lock()
        self._seen: Stamp = ()
        self._library = Library(profiles={})
        self.look()

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Every profile in use, by name."""
        return tuple(profile for _, profile in sorted(self._library.profiles.items()))

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the files, and with the configuration's names for them."""
        known = tuple(self._library.profiles) or (DEFAULT,)
        unknown = [
            f"stations: {title}: '{name}' is no machine profile in use{did_you_mean(name, known)}"
            for title, name in self._assigned.items()
            if name not in known
        ]
        return (*self._library.faults, *unknown)

    def choose(self, calling_ae: str, implementation: str = "") -> Profile:
        """The profile that the configuration gives the machine; else the one that knows its implementation class
        UID, the longest beginning first, or its AE title; else the default.
        """
        profiles = self._library.profiles
        assigned = profiles.get(self._assigned.get(calling_ae, ""))
        if assigned is not None:
            return assigned
        ranked = sorted(
            ((_likeness(profile, calling_ae, implementation), profile) for profile in profiles.values()),
            key=lambda pair: (-pair[0], pair[1].name),
        )
        if ranked and ranked[0][0]:
            return ranked[0][1]
        return profiles.get(DEFAULT, _PLAIN)

    def look(self) -> bool:
        """Whether the folder had changed; then it was read again."""
        if self._folder is None:
            return False
        with self._lock:
            now = stamp(self._folder)
            if now == self._seen:
                return False
            found = read_library(self._folder)
            names = {path.stem for path in self._folder.glob("*.yaml")}
            kept = {name: old for name, old in self._library.profiles.items() if name in names}
            self._seen = now
            self._library = Library(profiles={**kept, **found.profiles}, faults=found.faults)
        return True


_PLAIN = Profile()
_BY_TITLE = 1
_EXACT = 1000


def _likeness(profile: Profile, calling_ae: str, implementation: str) -> int:
    """0: not of this kind; else how sure that is."""
    found = [_BY_TITLE] if calling_ae in profile.callers else [0]
    for uid in profile.implementations:
        if implementation and uid == implementation:
            found.append(_EXACT)
        elif uid.endswith("*") and implementation.startswith(uid[:-1]):
            found.append(1 + len(uid))
    return max(found)
