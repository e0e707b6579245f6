"""Tokens of programs: found by the digest of their secret, which is all that is kept of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import TokenId
from gateway.model.token import Scope, Token
from gateway.store.database import Tx
from gateway.store.tables import api_tokens


def add(tx: Tx, name: str, scope: Scope, sha256: str, at: datetime) -> TokenId:
    """The token is good from now on. Raises Conflict when the name is taken."""
    tx.lock(f"token {name}")
    if tx.connection.execute(select(api_tokens.c.id).where(api_tokens.c.name == name)).one_or_none():
        raise Conflict("token name: there is already a token with that name")
    row = insert(api_tokens).values(name=name, scope=scope, sha256=sha256, created_at=at)
    return TokenId(tx.connection.execute(row.returning(api_tokens.c.id)).scalar_one())


def remove(tx: Tx, name: str) -> Token:
    """The token that was of that name; it is worth nothing any more. Raises NotFound."""
    gone = delete(api_tokens).where(api_tokens.c.name == name).returning(api_tokens)
    row = tx.connection.execute(gone).one_or_none()
    if row is None:
        raise NotFound("token name: there is no such token")
    return _read(row)


def of_digest(tx: Tx, sha256: str) -> Token | None:
    """The token whose secret has that digest, None when there is none."""
    row = tx.connection.execute(select(api_tokens).where(api_tokens.c.sha256 == sha256)).one_or_none()
    return _read(row) if row is not None else None


def touch(tx: Tx, token_id: TokenId, at: datetime) -> None:
    """The token was used at `at`."""
    tx.connection.execute(update(api_tokens).where(api_tokens.c.id == token_id).values(used_at=at))


def listing(tx: Tx) -> tuple[Token, ...]:
    """Every token, by name."""
    return tuple(_read(row) for row in tx.connection.execute(select(api_tokens).order_by(api_tokens.c.name)))


def _read(row: Any) -> Token:
    return Token(
        id=TokenId(row.id),
        name=row.name,
        scope=Scope(row.scope),
        created_at=row.created_at,
        used_at=row.used_at,
    )
