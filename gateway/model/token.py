"""Tokens by which programs prove themselves, and what each opens."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.ids import TokenId


class Scope(StrEnum):
    """What a token opens."""

    DICOMWEB = "dicomweb"  # reading studies at /dicom-web


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that is good. Its secret is known to its bearer alone."""

    id: TokenId
    name: str
    scope: Scope
    created_at: datetime
    used_at: datetime | None  # to the minute; None: never yet

    @property
    def actor(self) -> str:
        """The token as the audit trail names one."""
        return f"token:{self.name}"
