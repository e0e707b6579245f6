"""How each side proves who it is: the keys of `auth`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gateway.kinds import Network, Subject, Url

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,200}")


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


Secrets = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed), Field(min_length=1)
]
"""A secret, or several while one takes the place of another."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class MutualTls(_Section):
    """Our certificate, shown to the server (PEM files)."""

    certificate: Path
    key: Path | None = None  # none: it stands in the file of the certificate


class OAuth2(_Section):
    """A token for a client's secret."""

    client_id: str = Field(min_length=1)
    client_secret: str = Field(min_length=1, repr=False)
    scope: str = ""
    token_url: Url | None = None  # none: the server's smart-configuration tells
    send: Literal["basic", "post"] = "basic"  # how the secret is sent


class SmartBackend(_Section):
    """A token for a claim that is signed with our key."""

    client_id: str = Field(min_length=1)
    keys: tuple[Path, ...] = Field(min_length=1)  # PEM; the first one signs, all are published
    scope: str = "system/*.cruds"
    token_url: Url | None = None  # none: the server's smart-configuration tells


class Proof(_Section):
    """One of these; `mtls` goes with each of the others too."""

    bearer: str | None = Field(default=None, repr=False)
    basic: tuple[str, str] | None = Field(default=None, repr=False)  # [user, password]
    header: tuple[str, str] | None = Field(default=None, repr=False)  # [name, value]
    oauth2: OAuth2 | None = None
    smart_backend: SmartBackend | None = None
    mtls: MutualTls | None = None

    @model_validator(mode="before")
    @classmethod
    def _none(cls, given: Any) -> Any:
        return {} if given == "none" else given

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = ("bearer", "basic", "header", "oauth2", "smart_backend")
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"only one of {', '.join(given)} can be used")
        if any(getattr(self, name) in ("", ("", "")) for name in given):
            raise ValueError("an empty secret protects nothing")
        return self


class Hmac(_Section):
    """A header with the HMAC of the body."""

    header: str = Field(min_length=1)
    secret: Secrets = Field(repr=False)
    prefix: str = ""  # "sha256="
    encoding: Literal["hex", "base64"] = "hex"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"


class SenderCertificate(_Section):
    """A sender's certificate: the connection's own, or one that a proxy verified and tells of by a header."""

    fingerprints: tuple[str, ...] = ()  # SHA-256 in hexadecimal, with or without colons; none: any
    subjects: tuple[Subject, ...] = ()  # "CN=ehr,O=Hospital"; none: any
    header: str = ""  # in which proxies tell the fingerprint; "": no proxy does
    proxies: tuple[Network, ...] = ()  # whose word counts

    @field_validator("fingerprints")
    @classmethod
    def _of_sha_256(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(one.replace(":", "").lower() for one in given)
        if any(len(one) != 64 or set(one) - set("0123456789abcdef") for one in plain):
            raise ValueError("must be SHA-256 fingerprints: 64 hexadecimal digits each")
        return plain

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not self.fingerprints and not self.subjects:
            raise ValueError("give fingerprints or subjects, else every certificate would do")
        if bool(self.header) != bool(self.proxies):
            raise ValueError("header and proxies belong together: a header counts only from a proxy of ours")
        if self.header and self.subjects:
            raise ValueError("subjects cannot go with header: a proxy tells the fingerprint alone")
        return self


class Oidc(_Section):
    """A signed token (JWT) of somebody who vouches for the sender.

    He vouches for others too, to whom he gives a token for any audience that they name (Google does, to everybody): who
    the sender is must always be said.
    """

    issuer: Url
    audience: str = Field(min_length=1)
    jwks_url: Url | None = None  # none: the issuer's discovery document tells
    subject: str = ""  # his `sub`; "": the email tells who he is
    email: str = ""

    @model_validator(mode="after")
    def _names_a_sender(self) -> Self:
        if not self.subject and not self.email:
            raise ValueError("lets in everybody for whom the issuer vouches: give email or subject")
        return self


class PushProof(_Section):
    """A sender proves all that is given here."""

    bearer: Secrets | None = Field(default=None, repr=False)
    basic: tuple[str, str] | None = Field(default=None, repr=False)  # [user, password]
    header: tuple[str, str] | None = Field(default=None, repr=False)  # [name, value]
    hmac: Hmac | None = None
    url_token: str | None = Field(default=None, repr=False)  # /fhir/{source}~{url_token}
    mtls: SenderCertificate | None = None
    oidc: Oidc | None = None
    allow: tuple[Network, ...] = ()  # where it calls from

    @model_validator(mode="after")
    def _is_proof(self) -> Self:
        secrets = (self.bearer, self.basic, self.header, self.hmac, self.url_token, self.mtls, self.oidc)
        if all(one is None for one in secrets) and not self.allow:
            raise ValueError(
                "proves nothing: give bearer, basic, header, hmac, url_token, mtls, oidc or allow"
            )
        if any("" in pair for pair in (self.basic, self.header) if pair is not None):
            raise ValueError("an empty secret protects nothing")
        if (self.bearer is not None or self.oidc is not None) and self.basic is not None:
            raise ValueError("a request has one Authorization header: basic cannot go with bearer or oidc")
        if self.bearer is not None and self.oidc is not None:
            raise ValueError("a request has one Authorization header: bearer cannot go with oidc")
        if self.url_token is not None and not _TOKEN.fullmatch(self.url_token):
            raise ValueError(
                "url_token: must be 22 or more of A-Z a-z 0-9 - _ (128 bit), such as `openssl rand -hex 16` gives"
            )
        return self


def _ways(given: Any) -> Any:
    if given == "none":
        return ()
    return given if isinstance(given, list | tuple) else (given,)


PushProofs = Annotated[tuple[PushProof, ...], BeforeValidator(_ways)]
"""One proof, or a list of which any suffices."""
