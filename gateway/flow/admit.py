"""Admit: people set up, added, logged in and out. Passwords are kept as argon2id digests, tokens as SHA-256."""

import hashlib
import secrets
from datetime import timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.errors import Invalid, NotFound, Refused
from gateway.model.ids import UserId
from gateway.model.user import Role, User
from gateway.store import audit, users
from gateway.store.database import Tx

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
SHORTEST_PASSWORD = 10
TRIES_A_NAME = 5
TRIES_AN_ADDRESS = 20
TRIES_WITHIN = timedelta(minutes=5)

_SETUP = "setup"
_TOUCH_AFTER = timedelta(minutes=1)
_WRONG = "the name or the password is wrong"
_hasher = PasswordHasher()


def new_setup_secret(ports: Ports) -> str | None:
    """A fresh one-time secret for `set_up`, an older one being worth nothing now; None when there are users."""
    with ports.database.write() as tx:
        if users.count(tx):
            return None
        secret = secrets.token_hex(8)
        users.replace_secret(tx, _SETUP, _sha256(secret), ports.clock())
        return secret


def set_up(ports: Ports, *, secret: str, name: str, password: str) -> str:
    """The session token of the first administrator.

    Raises Refused for a wrong secret, Invalid for a bad name or password; the secret is then still good.
    """
    _check(name, password)
    with ports.database.write() as tx:
        if users.count(tx) or not users.spend_secret(tx, _SETUP, _sha256(secret.strip())):
            raise Refused(
                "the set-up secret is wrong or was used already; the gateway prints a new one when it starts"
            )
        user_id = users.add(tx, name, Role.ADMIN, _hasher.hash(password), ports.clock())
        _record(tx, ports, f"user:{name}", "user.setup", user_id)
        return _open(tx, ports, user_id)


def add_user(ports: Ports, name: str, role: Role, password: str, *, actor: str) -> UserId:
    """The new user. Raises Invalid for a bad name or password, Conflict when the name is taken."""
    _check(name, password)
    digest = _hasher.hash(password)
    with ports.database.write() as tx:
        user_id = users.add(tx, name, role, digest, ports.clock())
        _record(tx, ports, actor, "user.add", user_id)
        return user_id


def change_password(ports: Ports, name: str, password: str, *, actor: str) -> None:
    """The user has that password and is logged out everywhere. Raises Invalid, NotFound."""
    _check(name, password)
    digest = _hasher.hash(password)
    with ports.database.write() as tx:
        user, _ = users.credentials(tx, name)
        users.change_password(tx, name, digest)
        _record(tx, ports, actor, "user.password", user.id)


def log_in(ports: Ports, *, name: str, password: str, peer: str) -> str:
    """A session token. Raises Refused, with the same words whatever was wrong; also after too many failures."""
    nobody = None, _digest_of_nobody()
    keys = (f"login:{_sha256(name)[:32]}", TRIES_A_NAME), (f"login-from:{peer}", TRIES_AN_ADDRESS)
    with ports.database.write() as tx:
        since = ports.clock() - TRIES_WITHIN
        if any(users.failed(tx, key, since) >= limit for key, limit in keys):
            raise Refused("too many failed attempts: wait five minutes and try again")
        known = _credentials(tx, name)
    user, digest = known or nobody
    is_right = _verify(digest, password) and user is not None
    with ports.database.write() as tx:
        if not is_right or user is None:
            for key, _ in keys:
                users.note_failure(tx, key, ports.clock())
            failed = True
        else:
            failed = False
            _record(tx, ports, f"user:{user.name}", "user.login", user.id)
            token = _open(tx, ports, user.id)
    if failed:
        raise Refused(_WRONG)
    return token


def log_out(ports: Ports, token: str) -> None:
    """The token is worth nothing any more."""
    with ports.database.write() as tx:
        users.close_session(tx, _sha256(token))


def admitted(ports: Ports, token: str, *, is_use: bool = True) -> User | None:
    """The user whose session that is; None when it is unknown, older than 12 hours or idle for 30 minutes.

    `is_use` is False for what a page does on its own: that keeps no session alive.
    """
    now = ports.clock()
    with ports.database.read() as tx:
        found = users.session(tx, _sha256(token), created_after=now - LONGEST, seen_after=now - IDLE)
    if found is None:
        return None
    user, seen_at = found
    if is_use and now - seen_at > _TOUCH_AFTER:
        with ports.database.write() as tx:
            users.touch_session(tx, _sha256(token), now)
    return user


def _check(name: str, password: str) -> None:
    faults = []
    if not 0 < len(name) <= 64 or name != name.strip() or not name.isprintable():
        faults.append("name: 1 to 64 printable characters, no blanks at the ends")
    if len(password) < SHORTEST_PASSWORD:
        faults.append(f"password: at least {SHORTEST_PASSWORD} characters")
    if password and password.casefold() == name.casefold():
        faults.append("password: must not be the name")
    if faults:
        raise Invalid(*faults)


def _credentials(tx: Tx, name: str) -> tuple[User, str] | None:
    try:
        return users.credentials(tx, name)
    except NotFound:
        return None


@cache
def _digest_of_nobody() -> str:
    """Verified for names that do not exist, so that the time taken tells nothing; made for those that do as well."""
    return _hasher.hash(secrets.token_hex(16))


def _verify(digest: str, password: str) -> bool:
    try:
        return _hasher.verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False


def _open(tx: Tx, ports: Ports, user_id: UserId) -> str:
    token = secrets.token_urlsafe(32)
    users.open_session(tx, user_id, _sha256(token), ports.clock())
    return token


def _record(tx: Tx, ports: Ports, actor: str, action: str, user_id: UserId) -> None:
    event = AuditEvent(at=ports.clock(), actor=actor, action=action, subject=f"user:{user_id}", detail="")
    audit.record(tx, event)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
