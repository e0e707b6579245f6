"""Grant: programs get tokens, use them and lose them. A token's secret is shown once and kept as SHA-256 alone."""

import hashlib
import re
import secrets
from datetime import timedelta

from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.errors import Invalid
from gateway.model.token import Scope, Token
from gateway.store import audit, tokens
from gateway.store.database import Tx

MARK = "iog_"
"""What every secret begins with, so that scanners for leaked secrets know one when they see it."""

_SECRET_BYTES = 32
_LONGEST = 256  # characters of what may be a secret; more is not even digested
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOUCH_AFTER = timedelta(minutes=1)


def grant(ports: Ports, name: str, scope: Scope, *, actor: str) -> str:
    """The secret of a new token, 256 random bits; nobody can read it again.

    Raises Invalid for a bad name, Conflict when it is taken.
    """
    if not _NAME.fullmatch(name):
        raise Invalid("token name: 1 to 64 letters, digits, dots, hyphens and underscores")
    secret = MARK + secrets.token_urlsafe(_SECRET_BYTES)
    with ports.database.write() as tx:
        token_id = tokens.add(tx, name, scope, _sha256(secret), ports.clock())
        _record(tx, ports, actor, "token.add", f"token:{token_id}", f"{name} {scope}")
    return secret


def revoke(ports: Ports, name: str, *, actor: str) -> None:
    """The token of that name is worth nothing any more, from the next request on. Raises NotFound."""
    with ports.database.write() as tx:
        gone = tokens.remove(tx, name)
        _record(tx, ports, actor, "token.revoke", f"token:{gone.id}", f"{gone.name} {gone.scope}")


def granted(ports: Ports, secret: str) -> Token | None:
    """The token whose secret that is, None when there is none. Its use is noted once a minute at most.

    It is looked for by its digest: how long that takes tells nothing of the secrets that are good.
    """
    if len(secret) > _LONGEST:
        return None
    with ports.database.read() as tx:
        token = tokens.of_digest(tx, _sha256(secret))
    if token is None:
        return None
    now = ports.clock()
    if token.used_at is None or now - token.used_at >= _TOUCH_AFTER:
        with ports.database.write() as tx:
            tokens.touch(tx, token.id, now)
    return token


def _record(tx: Tx, ports: Ports, actor: str, action: str, subject: str, detail: str) -> None:
    audit.record(tx, AuditEvent(at=ports.clock(), actor=actor, action=action, subject=subject, detail=detail))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
