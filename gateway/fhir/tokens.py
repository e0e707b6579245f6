"""Access tokens: asked for once, kept until they end, renewed when the server wants another.

Source: RFC 6749 4.4; RFC 7523 2.2; SMART App Launch 2.2, backend services.
"""

import base64
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import httpx
from joserfc import jwt

from gateway.fhir.credentials import ClientSecret, SignedClaim
from gateway.fhir.exchange import Connection
from gateway.fhir.keys import read_key
from gateway.flow.ports import Clock
from gateway.model.errors import Invalid, Unavailable

CLAIM_LASTS_S = 240
"""Source: SMART App Launch 2.2: exp is no more than five minutes in the future."""

_EARLY_S = 30.0  # a token is not used in its last seconds
_UNTOLD_S = 300.0  # how long a token counts whose server does not say
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str
    until: float  # of the monotonic clock


class TokenAuth(httpx.Auth):
    """Requests bear a token. Safe to use from several threads; only one of them fetches at a time."""

    def __init__(
        self,
        proof: ClientSecret | SignedClaim,
        *,
        url: str,
        connection: Connection,
        clock: Clock,
        new_id: Callable[[], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` is the server's FHIR base, `connection` reaches where tokens are given; `new_id` gives a fresh jti."""
        self._proof = proof
        self._url = url
        self._connection = connection
        self._clock = clock
        self._new_id = new_id
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._token: _Token | None = None
        self._endpoint = proof.token_url

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with a token; once more with a new one when that is not taken.

        Raises Unavailable when there is no token.
        """
        token = self._current(refused=None)
        request.headers["Authorization"] = f"Bearer {token.text}"
        response = yield request
        if response.status_code == 401:
            token = self._current(refused=token)
            request.headers["Authorization"] = f"Bearer {token.text}"
            yield request

    def _current(self, refused: _Token | None) -> _Token:
        """The token that counts now, another one than the server refused."""
        with self._turn:
            kept = self._token
            if kept is None or kept is refused or self._monotonic() >= kept.until:
                self._token = None
                self._token = kept = self._fetch()
            return kept

    def _fetch(self) -> _Token:
        """Raises Unavailable, for whatever reason: what waits must not be lost when a secret has run out."""
        endpoint = self._endpoint or self._discovered()
        headers, form = self._request(endpoint)
        answer = self._connection.ask("POST", endpoint, urlencode(form).encode(), {**_FORM, **headers})
        tree = answer.tree()
        said = tree if isinstance(tree, dict) else {}
        token = said.get("access_token")
        if not answer.is_good or not isinstance(token, str) or not token.isprintable():
            code = said.get("error")
            why = f": {code[:60]}" if isinstance(code, str) and code.isprintable() else ""
            raise Unavailable(f"no token: answered {answer.status}{why}", retry_after_s=answer.retry_after_s)
        lasts = said.get("expires_in")
        lasts_s = float(lasts) if isinstance(lasts, int | float) else _UNTOLD_S
        self._endpoint = endpoint
        return _Token(text=token, until=self._monotonic() + max(lasts_s - _EARLY_S, 1.0))

    def _discovered(self) -> str:
        """Where tokens are given. Source: SMART App Launch 2.2, conformance (.well-known/smart-configuration)."""
        answer = self._connection.ask("GET", f"{self._url}/.well-known/smart-configuration")
        tree = answer.tree()
        endpoint = tree.get("token_endpoint") if isinstance(tree, dict) else None
        if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
            raise Unavailable("no token: the server does not say where; set token_url")
        if self._url.startswith("https://") and not endpoint.startswith("https://"):
            raise Unavailable("no token: the server names an address without TLS")
        return endpoint

    def _request(self, endpoint: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """The headers and the form that ask for a token."""
        proof = self._proof
        form = {"grant_type": "client_credentials"} | ({"scope": proof.scope} if proof.scope else {})
        if isinstance(proof, SignedClaim):
            claim = self._claim(proof, endpoint)
            return {}, {**form, "client_assertion_type": _ASSERTION, "client_assertion": claim}
        if proof.sends == "post":
            return {}, {**form, "client_id": proof.client_id, "client_secret": proof.secret}
        pair = f"{quote(proof.client_id, safe='')}:{quote(proof.secret, safe='')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}, form

    def _claim(self, proof: SignedClaim, endpoint: str) -> str:
        """Who we are, signed. The key's file is read each time, so that a new one counts."""
        try:
            key = read_key(proof.keys[0])
        except Invalid as error:
            raise Unavailable(f"no token: {error}") from None
        now = int(self._clock().timestamp())
        claims = {
            "iss": proof.client_id,
            "sub": proof.client_id,
            "aud": endpoint,
            "iat": now,
            "exp": now + CLAIM_LASTS_S,
            "jti": self._new_id(),
        }
        header = {"alg": key.kind, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, key.pair, algorithms=[key.kind])
