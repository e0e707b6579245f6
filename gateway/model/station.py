"""A machine that asks for its worklist."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A configured machine."""

    ae_title: str
    name: str
    modality: str  # "" when it does several
