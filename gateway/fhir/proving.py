"""Connections on which we prove who we are: the httpx client of a server, whoever asks it."""

import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import httpx

from gateway.fhir.auth import headers
from gateway.fhir.credentials import Certificate, ClientSecret, Proof, SignedClaim
from gateway.fhir.exchange import Connection
from gateway.fhir.outcome import MEDIA_TYPE
from gateway.fhir.tokens import TokenAuth
from gateway.flow.ports import Clock
from gateway.model.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server, and how we prove ourselves there."""

    url: str  # its FHIR base
    proof: Proof | None
    certificate: Certificate | None = None


class FixedAuth(httpx.Auth):
    """Requests bear what never changes."""

    def __init__(self, fixed: dict[str, str]) -> None:
        self._fixed = fixed

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with the headers."""
        request.headers.update(self._fixed)
        yield request


def trust_of(certificate: Certificate | None) -> ssl.SSLContext:
    """Whom we believe: the computer's own authorities; with our certificate when we have one. Raises Invalid."""
    context = ssl.create_default_context()
    if certificate is not None:
        try:
            context.load_cert_chain(certificate.certificate, certificate.key)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(f"{certificate.certificate}: cannot be used ({type(error).__name__})") from None
    return context


def prover(
    place: Place,
    *,
    trust: ssl.SSLContext,
    timeout_s: float,
    clock: Clock,
    new_id: Callable[[], str],
    monotonic: Callable[[], float] = time.monotonic,
) -> httpx.Auth:
    """What proves us on every request to the place; it may be used by several clients."""
    match place.proof:
        case ClientSecret() | SignedClaim() as proof:
            client = httpx.Client(timeout=timeout_s, verify=trust, follow_redirects=False, trust_env=False)
            connection = Connection(client, timeout_s, monotonic=monotonic)
            return TokenAuth(
                proof, url=place.url, connection=connection, clock=clock, new_id=new_id, monotonic=monotonic
            )
        case credential:
            return FixedAuth(dict(headers(credential)))


def connection_to(
    place: Place,
    timeout_s: float,
    *,
    clock: Clock,
    new_id: Callable[[], str],
    monotonic: Callable[[], float] = time.monotonic,
) -> Connection:
    """Connections to the place, on which studies are written. Raises Invalid for a certificate of no use."""
    trust = trust_of(place.certificate)
    auth = prover(place, trust=trust, timeout_s=timeout_s, clock=clock, new_id=new_id, monotonic=monotonic)
    client = httpx.Client(
        headers={"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE, "Prefer": "return=minimal"},
        auth=auth,
        timeout=timeout_s,
        verify=trust,
        follow_redirects=False,  # a credential goes to its own server alone
        trust_env=False,
    )
    return Connection(client, timeout_s, monotonic=monotonic)
