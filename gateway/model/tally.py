"""What is counted while the gateway runs; it begins at nothing with every start.

The rooms count here, and the metrics page reads: so no room knows how its figures are shown. A label is a name of the
configuration or one of a few words of ours, never anything a peer chose.
"""

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

Label = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """How long something took: how often in each of BUCKETS_S and beyond them, and seconds in all."""

    counts: tuple[int, ...]
    total_s: float


@dataclass(slots=True)
class _Spans:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0


class Tally:
    """Counts and durations by name and labels; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Label]] = Counter()
        self._spans: dict[tuple[str, Label], _Spans] = {}

    def count(self, name: str, *labels: str) -> None:
        """One more."""
        with self._lock:
            self._counts[name, labels] += 1

    def took(self, name: str, seconds: float, *labels: str) -> None:
        """Something was done that took `seconds`."""
        with self._lock:
            spans = self._spans.setdefault((name, labels), _Spans())
            spans.counts[bisect_left(BUCKETS_S, seconds)] += 1
            spans.total_s += seconds

    def counts(self, name: str) -> dict[Label, int]:
        """How many of `name` there were by their labels."""
        with self._lock:
            return {labels: count for (one, labels), count in self._counts.items() if one == name}

    def spans(self, name: str) -> dict[Label, Spans]:
        """How long those of `name` took by their labels."""
        with self._lock:
            return {
                labels: Spans(counts=tuple(found.counts), total_s=found.total_s)
                for (one, labels), found in self._spans.items()
                if one == name
            }
