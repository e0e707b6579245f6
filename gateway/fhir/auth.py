"""Who may push to us, and how we prove ourselves to others."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from gateway.fhir.issuer import Issuer
from gateway.fhir.pushing import Attempt, Way, holds
from gateway.model.credential import Basic, Bearer, Credential, Header, challenge_for

__all__ = ["Basic", "Bearer", "Credential", "Header", "Source", "challenge", "headers", "is_admitted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record system that pushes orders to /fhir/{name}."""

    name: str
    auth: tuple[Way, ...] = ()  # any of these ways; none: whoever reaches the port may push
    release: Literal["R4", "R4B", "R5"] = "R4"  # what it speaks where its resources do not show it
    owners: tuple[str, ...] = ()  # Tasks are ours whose owner is one of these; none: all are
    fresh: timedelta | None = None  # what is held longer is read again before an order needs it; None: never
    base_url: str = ""  # where its references are read back; "" when it cannot be asked
    polls: str = (
        ""  # the search that finds its orders: "ServiceRequest?category=..."; "" when none may be made
    )
    counts_events: bool = True  # whether it numbers its notifications as FHIR says

    @property
    def has_issuer(self) -> bool:
        """Whether somebody else vouches for it, whose keys may have to be read first."""
        return any(isinstance(proof, Issuer) for way in self.auth for proof in way)

    def stale_before(self, at: datetime) -> datetime | None:
        """What was read before that moment is too old for a message that came `at` that time; None: nothing is."""
        return at - self.fresh if self.fresh is not None else None


def is_admitted(source: Source, attempt: Attempt) -> bool:
    """Whether the request proves its sender to be `source`; takes the same time for every wrong secret."""
    ways = [[holds(proof, attempt) for proof in way] for way in source.auth]
    return not ways or any(map(all, ways))


def challenge(source: Source) -> str:
    """The WWW-Authenticate header for one who is not admitted."""
    proofs = [proof for way in source.auth for proof in way if isinstance(proof, Bearer | Basic)]
    return challenge_for(proofs[0] if proofs else None, "fhir")


def headers(credential: Credential | None) -> Mapping[str, str]:
    """The request headers by which we prove ourselves; none for None."""
    match credential:
        case Bearer(token=token):
            return {"Authorization": f"Bearer {token}"}
        case Basic(pair=pair):
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        case Header(name=name, value=value):
            return {name: value}
        case None:
            return {}
