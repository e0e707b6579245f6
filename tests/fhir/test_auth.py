import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.auth import Basic, Bearer, Source, challenge, headers, is_admitted
from gateway.fhir.pushing import Attempt
from gateway.model.connection import Connection

BEARER = Source(name="ehr", auth=((Bearer(token="s3cret"),),))
BASIC = Source(name="ehr", auth=((Basic(user="ehr", password="a:pässword"),),))
OPEN = Source(name="ehr", auth=())


def _attempt(authorization: str) -> Attempt:
    return Attempt(headers={"authorization": authorization}, connection=Connection(address=""))


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("source", "authorization", "expected"),
    [
        (BEARER, "Bearer s3cret", True),
        (BEARER, "bearer  s3cret ", True),
        (BEARER, "Bearer s3cre", False),
        (BEARER, "Bearer s3cret s3cret", False),
        (BEARER, "Bearer", False),
        (BEARER, "Basic s3cret", False),
        (BEARER, "s3cret", False),
        (BEARER, "", False),
        (BASIC, _basic("ehr:a:pässword"), True),
        (BASIC, _basic("ehr:wrong"), False),
        (BASIC, _basic("other:a:pässword"), False),
        (BASIC, "Basic !!!", False),
        (BASIC, "Basic", False),
        (BASIC, "Bearer ehr:a:pässword", False),
        (OPEN, "", True),
    ],
)
def test_only_the_right_secret_is_admitted(source: Source, authorization: str, expected: bool) -> None:
    assert is_admitted(source, _attempt(authorization)) is expected


@given(st.text())
def test_no_header_breaks_the_check(authorization: str) -> None:
    assert not is_admitted(BASIC, _attempt(authorization))
    assert not is_admitted(BEARER, _attempt(authorization))


@pytest.mark.parametrize("auth", [Bearer(token="s3cret"), Basic(user="u", password="p:ü")])
def test_what_we_send_is_what_we_admit(auth: Bearer | Basic) -> None:
    assert is_admitted(Source(name="x", auth=((auth,),)), _attempt(headers(auth)["Authorization"]))


def test_the_challenge_names_the_way() -> None:
    assert challenge(BEARER) == 'Bearer realm="fhir"'
    assert challenge(BASIC) == 'Basic realm="fhir", charset="UTF-8"'
