"""How the gateway proves who it is to the servers that it tells: the keys of `auth`."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.kinds import Url


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
