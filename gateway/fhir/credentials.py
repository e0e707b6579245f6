"""How we prove ourselves to servers that give tokens, or ask for a certificate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from gateway.fhir.auth import Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Our own, shown to the server (PEM). Source: RFC 8446 4.4.2."""

    certificate: Path
    key: Path | None  # None: it stands in the file of the certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A token for a secret. Source: RFC 6749 4.4, client credentials; 2.3.1, client password."""

    client_id: str
    secret: str = field(repr=False)
    scope: str = ""
    token_url: str = ""  # "": the server's own smart-configuration tells
    sends: Literal["basic", "post"] = "basic"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedClaim:
    """A token for a claim signed with our key. Source: SMART App Launch 2.2, backend services; RFC 7523."""

    client_id: str
    keys: tuple[Path, ...]  # the first one signs; every one is published, so that it can be changed
    scope: str = "system/*.cruds"
    token_url: str = ""  # "": the server's own smart-configuration tells


Proof: TypeAlias = Credential | ClientSecret | SignedClaim
