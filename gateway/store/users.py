"""People, their sessions, failed attempts, and the one-time secret of the first start."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import UserId
from gateway.model.user import Role, User
from gateway.store.database import Tx
from gateway.store.tables import failures, secrets, sessions, users


def add(tx: Tx, name: str, role: Role, password_hash: str, at: datetime) -> UserId:
    """The user may log in. Raises Conflict when the name is taken."""
    if tx.connection.execute(select(users.c.id).where(users.c.name == name)).one_or_none() is not None:
        raise Conflict("user name: there is already a user with that name")
    row = insert(users).values(name=name, role=role, password_hash=password_hash, created_at=at)
    return UserId(tx.connection.execute(row.returning(users.c.id)).scalar_one())


def change_password(tx: Tx, name: str, password_hash: str) -> None:
    """The user has another password, and is logged out everywhere. Raises NotFound."""
    user, _ = credentials(tx, name)
    tx.connection.execute(update(users).where(users.c.id == user.id).values(password_hash=password_hash))
    tx.connection.execute(delete(sessions).where(sessions.c.user_id == user.id))


def credentials(tx: Tx, name: str) -> tuple[User, str]:
    """The user of that name and the hash of the password. Raises NotFound."""
    row = tx.connection.execute(select(users).where(users.c.name == name)).one_or_none()
    if row is None:
        raise NotFound("user name: there is no such user")
    return _read(row), row.password_hash


def listing(tx: Tx) -> tuple[User, ...]:
    """Every user, by name."""
    return tuple(_read(row) for row in tx.connection.execute(select(users).order_by(users.c.name)))


def count(tx: Tx) -> int:
    """How many users there are."""
    return tx.connection.execute(select(func.count()).select_from(users)).scalar_one()


def open_session(tx: Tx, user_id: UserId, token_sha256: str, at: datetime) -> None:
    """The token's bearer is that user."""
    row = {"token_sha256": token_sha256, "user_id": user_id, "created_at": at, "seen_at": at}
    tx.connection.execute(insert(sessions).values(row))


def session(
    tx: Tx, token_sha256: str, *, created_after: datetime, seen_after: datetime
) -> tuple[User, datetime] | None:
    """The user whose session that is and when it was last used; None when unknown, too old or idle too long."""
    query = (
        select(users, sessions.c.seen_at)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(
            sessions.c.token_sha256 == token_sha256,
            sessions.c.created_at > created_after,
            sessions.c.seen_at > seen_after,
        )
    )
    row = tx.connection.execute(query).one_or_none()
    return (_read(row), row.seen_at) if row is not None else None


def touch_session(tx: Tx, token_sha256: str, at: datetime) -> None:
    """The session was used at `at`."""
    tx.connection.execute(update(sessions).where(sessions.c.token_sha256 == token_sha256).values(seen_at=at))


def close_session(tx: Tx, token_sha256: str) -> None:
    """The token is worth nothing any more."""
    tx.connection.execute(delete(sessions).where(sessions.c.token_sha256 == token_sha256))


def note_failure(tx: Tx, key: str, at: datetime) -> None:
    """A failed attempt under `key` is counted."""
    tx.connection.execute(insert(failures).values(key=key, at=at))


def failed(tx: Tx, key: str, since: datetime) -> int:
    """How many attempts under `key` failed since then; older ones are forgotten."""
    tx.connection.execute(delete(failures).where(failures.c.key == key, failures.c.at < since))
    query = select(func.count()).select_from(failures).where(failures.c.key == key)
    return tx.connection.execute(query).scalar_one()


def replace_secret(tx: Tx, name: str, sha256: str, at: datetime) -> None:
    """The secret of that name is the new one; an older one is worth nothing any more."""
    tx.connection.execute(delete(secrets).where(secrets.c.name == name))
    tx.connection.execute(insert(secrets).values(name=name, sha256=sha256, created_at=at))


def spend_secret(tx: Tx, name: str, sha256: str) -> bool:
    """Whether that was the secret; if so it is used up."""
    used = tx.connection.execute(delete(secrets).where(secrets.c.name == name, secrets.c.sha256 == sha256))
    return used.rowcount == 1


def _read(row: Any) -> User:
    return User(id=UserId(row.id), name=row.name, role=Role(row.role), created_at=row.created_at)
