"""Tokens that somebody else signed for a sender. Source: OpenID Connect Core 3.1.3.7; RFC 7519; RFC 7517."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.flow.ports import Clock

log = logging.getLogger(__name__)

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures with a private key alone: whoever knows a public key must not be able to sign."""
SKEW_S = 60
TIMEOUT_S = 5.0

_LASTS_S = 3600.0  # keys are asked for again after an hour
_PAUSE_S = 60.0  # and for an unknown key at most once a minute
_LONGEST = 16 * 1024


class Issuer:
    """One who vouches for senders, by his keys. Safe to use from several threads."""

    def __init__(
        self,
        name: str,
        *,
        audience: str,
        clock: Clock,
        jwks_url: str = "",
        subject: str = "",
        email: str = "",
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is his `iss`; without `jwks_url` his discovery document says where his keys are."""
        self.name = name
        self._audience = audience
        self._clock = clock
        self._jwks_url = jwks_url
        self._wanted = {"sub": subject, "email": email}
        self._client = httpx.Client(timeout=TIMEOUT_S, transport=transport, trust_env=False)
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._keys: KeySet | None = None
        self._asked_at = -_LASTS_S

    def vouches_for(self, authorization: str) -> bool:
        """Whether the Authorization header bears a token of his, for us, that is valid now."""
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or token.count(".") != 2 or len(token) > _LONGEST:
            return False
        claims = self._claims(token.strip())
        return claims is not None and self._are_good(claims)

    def _claims(self, token: str) -> dict[str, Any] | None:
        """What the token says; None when none of his keys signed it."""
        for is_last in (False, True):
            keys = self._known(is_unknown_key=is_last)
            try:
                if keys is not None:
                    return dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
            except (JoseError, ValueError, TypeError):
                continue
        return None

    def _are_good(self, claims: dict[str, Any]) -> bool:
        now = self._clock().timestamp()
        expires, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
        if not isinstance(expires, int | float) or not isinstance(begins, int | float):
            return False
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        return (
            claims.get("iss") == self.name
            and self._audience in audiences
            and begins - SKEW_S <= now < expires + SKEW_S
            and all(claims.get(name) == value for name, value in self._wanted.items() if value)
            and not (self._wanted["email"] and claims.get("email_verified") is not True)
        )

    def _known(self, *, is_unknown_key: bool) -> KeySet | None:
        """His keys; fetched when they are old, or when one is unknown that he may have made since."""
        with self._turn:
            age_s = self._monotonic() - self._asked_at
            if age_s >= (_PAUSE_S if is_unknown_key or self._keys is None else _LASTS_S):
                self._asked_at = self._monotonic()
                self._keys = self._fetched() or self._keys
            return self._keys

    def _fetched(self) -> KeySet | None:
        try:
            url = self._jwks_url or self._asked(f"{self.name}/.well-known/openid-configuration")["jwks_uri"]
            return KeySet.import_key_set(self._asked(url))
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("fhir.no_keys", extra={"issuer": self.name, "reason": type(error).__name__})
            return None

    def _asked(self, url: str) -> Any:
        answer = self._client.get(url)
        answer.raise_for_status()
        return answer.json()
