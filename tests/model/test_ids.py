from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.ids import is_uid, uid_from_uuid


@given(st.uuids())
def test_every_uuid_stands_for_a_legal_uid(uuid: UUID) -> None:
    assert is_uid(uid_from_uuid(uuid))


@pytest.mark.parametrize("text", ["", "1..2", "1.02", "1.2.", ".1", "1.a", "1" * 65, "1.²", "1/2"])
def test_what_is_no_uid_is_told(text: str) -> None:
    assert not is_uid(text)


@pytest.mark.parametrize("text", ["1.2.840.10008.1.1", "0.0", "2.25.0"])
def test_what_is_a_uid_is_told(text: str) -> None:
    assert is_uid(text)
