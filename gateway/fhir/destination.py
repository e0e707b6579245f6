"""Who is told about studies, and how they take them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.fhir.auth import Credential


class Write(StrEnum):
    """How a study is written so that writing it twice leaves one.

    Source: FHIR R4 http.html, conditional update and transaction.
    """

    TRANSACTION = "transaction"
    CONDITIONAL_UPDATE = "conditional-update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A configured FHIR server."""

    name: str
    url: str  # its FHIR base, without a slash at the end
    release: Literal["R4"] = "R4"
    write: Write = Write.TRANSACTION
    auth: Credential | None = None
    # The FHIR sources that live on this same server, so that "Patient/7" of theirs is its Patient/7.
    # None: the source of the same name.
    sources: frozenset[str] | None = None

    def knows(self, source: str) -> bool:
        """Whether references of an order from `source` mean the same thing on this server."""
        return source in (self.sources if self.sources is not None else {self.name})
