import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from gateway.flow.grant import MARK, grant, granted, revoke
from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, Invalid, NotFound
from gateway.model.token import Scope
from gateway.store import audit, tokens
from gateway.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import FakeClock


def test_a_token_is_known_by_its_secret_until_it_is_revoked(ports: Ports, each_database: Database) -> None:
    ports = replace(ports, database=each_database)
    secret = grant(ports, "viewer-1", Scope.DICOMWEB, actor="cli")
    found = granted(ports, secret)
    assert found is not None
    assert (found.name, found.scope, found.actor) == ("viewer-1", Scope.DICOMWEB, "token:viewer-1")
    assert granted(ports, secret[:-1]) is None
    assert granted(ports, "") is None
    assert granted(ports, "x" * 100_000) is None
    revoke(ports, "viewer-1", actor="cli")
    assert granted(ports, secret) is None


def test_a_secret_has_256_bits_and_only_its_digest_is_stored(ports: Ports) -> None:
    secrets = {grant(ports, f"t{number}", Scope.DICOMWEB, actor="cli") for number in range(5)}
    assert len(secrets) == 5
    assert all(secret.startswith(MARK) and len(secret) == len(MARK) + 43 for secret in secrets)
    with ports.database.read() as tx:
        rows = tx.connection.execute(text("SELECT * FROM api_tokens")).all()
        trail = tx.connection.execute(text("SELECT * FROM audit")).all()
    assert {row.sha256 for row in rows} == {hashlib.sha256(one.encode()).hexdigest() for one in secrets}
    assert not any(secret[len(MARK) :] in str((*rows, *trail)) for secret in secrets)


def test_giving_and_taking_back_is_in_the_audit_trail(ports: Ports) -> None:
    grant(ports, "viewer-1", Scope.DICOMWEB, actor="cli")
    with ports.database.read() as tx:
        (token,) = tokens.listing(tx)
    revoke(ports, "viewer-1", actor="cli")
    with ports.database.read() as tx:
        trail = audit.of_subject(tx, f"token:{token.id}")
    assert [(one.action, one.actor, one.detail) for one in trail] == [
        ("token.add", "cli", "viewer-1 dicomweb"),
        ("token.revoke", "cli", "viewer-1 dicomweb"),
    ]


def test_a_name_that_was_revoked_may_be_given_again_and_has_a_number_of_its_own(ports: Ports) -> None:
    old = grant(ports, "viewer-1", Scope.DICOMWEB, actor="cli")
    with pytest.raises(Conflict):
        grant(ports, "viewer-1", Scope.DICOMWEB, actor="cli")
    first = granted(ports, old)
    revoke(ports, "viewer-1", actor="cli")
    second = granted(ports, grant(ports, "viewer-1", Scope.DICOMWEB, actor="cli"))
    assert first is not None
    assert second is not None
    assert first.id != second.id
    with pytest.raises(NotFound):
        revoke(ports, "viewer-2", actor="cli")


@pytest.mark.parametrize("name", ["", " ", "a b", "../etc", "ä", "x" * 65, ".hidden", "a\n"])
def test_a_name_that_could_be_misread_is_refused(ports: Ports, name: str) -> None:
    with pytest.raises(Invalid):
        grant(ports, name, Scope.DICOMWEB, actor="cli")


def test_use_is_noted_once_a_minute(ports: Ports, clock: "FakeClock") -> None:
    secret = grant(ports, "viewer-1", Scope.DICOMWEB, actor="cli")

    def used_at() -> object:
        granted(ports, secret)
        with ports.database.read() as tx:
            (token,) = tokens.listing(tx)
        return token.used_at

    begun = clock()
    assert used_at() == begun
    clock.advance(seconds=59)
    assert used_at() == begun
    clock.advance(seconds=1)
    assert used_at() == clock()
