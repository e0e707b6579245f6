"""How much one peer, and all of them together, may ask of the listener."""

from dataclasses import dataclass
from typing import Final

MAX_PDU: Final = 128 * 1024
"""Bytes of a P-DATA-TF PDU that peers are told to keep to. Source: DICOM PS3.8 D.1."""

MAX_PDU_TAKEN: Final = 1024 * 1024
"""Bytes of any PDU that are read at all: some peers overstep what they were told, or propose a great deal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The listener's limits. A peer is an address: AE titles are whatever a peer says they are."""

    associations: int = 40  # at once, all ports together
    associations_per_peer: int = 20  # at once
    associations_per_minute: int = 1200  # of one peer
    object_bytes: int = 8 * 1024**3  # of one object's data set

    @property
    def connections(self) -> int:
        """Connections at once, those that have not asked for an association yet included."""
        return 2 * self.associations + 10
