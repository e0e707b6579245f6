import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from gateway.fhir.credentials import ClientSecret, SignedClaim
from gateway.fhir.exchange import Connection
from gateway.fhir.keys import key_set, make_key
from gateway.fhir.tokens import TokenAuth
from gateway.model.errors import Unavailable

BASE = "https://ehr.example/fhir"
SECRET = ClientSecret(client_id="gw", secret="s:3cret", scope="system/*.write")


class Server:
    """Gives tokens, and takes requests that bear the newest one."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.given = 0
        self.lasts_s: object = 300
        self.refuses = 0  # so many requests are answered 401 whatever they bear
        self.answer: httpx.Response | None = None  # of the token endpoint, in place of its own
        self.configuration: dict[str, Any] = {"token_endpoint": "https://ehr.example/token"}
        self.pause = threading.Event()
        self.pause.set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.path == "/fhir/.well-known/smart-configuration":
            return httpx.Response(200, json=self.configuration)
        if request.url.path == "/token":
            self.pause.wait(5)
            if self.answer is not None:
                return self.answer
            self.given += 1
            return httpx.Response(200, json={"access_token": f"t{self.given}", "expires_in": self.lasts_s})
        if self.refuses:
            self.refuses -= 1
            return httpx.Response(401)
        is_known = request.headers.get("authorization") == f"Bearer t{self.given}"
        return httpx.Response(200 if is_known else 401)

    @property
    def forms(self) -> list[dict[str, str]]:
        """What the token endpoint was sent."""
        sent = [one for one in self.asked if one.url.path == "/token"]
        return [{k: v[0] for k, v in parse_qs(one.content.decode()).items()} for one in sent]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def seconds() -> list[float]:
    """The monotonic clock, as a list of one."""
    return [0.0]


@pytest.fixture
def make(
    server: Server, clock: Any, seconds: list[float]
) -> Iterator[Callable[[ClientSecret | SignedClaim], httpx.Client]]:
    opened: list[httpx.Client] = []
    numbers = iter(range(1000))

    def make(proof: ClientSecret | SignedClaim) -> httpx.Client:
        bare = httpx.Client(transport=httpx.MockTransport(server))
        auth = TokenAuth(
            proof,
            url=BASE,
            connection=Connection(bare, 5),
            clock=clock,
            new_id=lambda: f"2.25.{next(numbers)}",
            monotonic=lambda: seconds[0],
        )
        client = httpx.Client(transport=httpx.MockTransport(server), auth=auth)
        opened.extend((bare, client))
        return client

    yield make
    for client in opened:
        client.close()


Open = Callable[[ClientSecret | SignedClaim], httpx.Client]


def test_a_token_is_fetched_once_and_used_until_it_ends(
    server: Server, make: Open, seconds: list[float]
) -> None:
    client = make(SECRET)
    for moment in (0.0, 269.0):
        seconds[0] = moment
        assert client.get(f"{BASE}/metadata").status_code == 200
    assert server.given == 1
    seconds[0] = 271.0
    assert client.get(f"{BASE}/metadata").status_code == 200
    assert server.given == 2
    assert [one.url.path for one in server.asked].count("/fhir/.well-known/smart-configuration") == 1


def test_a_secret_travels_in_the_header_or_in_the_form(server: Server, make: Open) -> None:
    make(SECRET).get(f"{BASE}/metadata")
    sent = next(one for one in server.asked if one.url.path == "/token")
    assert base64.b64decode(sent.headers["authorization"].split()[1]) == b"gw:s%3A3cret"
    assert server.forms[0] == {"grant_type": "client_credentials", "scope": "system/*.write"}
    make(replace(SECRET, sends="post", scope="")).get(f"{BASE}/metadata")
    assert server.forms[1] == {
        "grant_type": "client_credentials",
        "client_id": "gw",
        "client_secret": "s:3cret",
    }


@pytest.mark.parametrize("kind", ["RS384", "ES384"])
def test_a_signed_claim_is_what_smart_asks_for(
    server: Server, make: Open, tmp_path: Path, clock: Any, kind: Any
) -> None:
    new, old = tmp_path / "new.pem", tmp_path / "old.pem"
    key = make_key(new, kind)
    make_key(old, "ES384")
    client = make(SignedClaim(client_id="gw", keys=(new, old)))
    client.get(f"{BASE}/metadata")
    (form,) = server.forms
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form["grant_type"] == "client_credentials"
    published: Any = key_set([new, old])
    token = jwt.decode(form["client_assertion"], KeySet.import_key_set(published), algorithms=[kind])
    assert token.header == {"alg": kind, "kid": key.kid, "typ": "JWT"}
    now = int(clock().timestamp())
    claims = dict(token.claims)
    assert claims.pop("jti").startswith("2.25.")
    assert claims == {
        "iss": "gw",
        "sub": "gw",
        "aud": "https://ehr.example/token",
        "iat": now,
        "exp": now + 240,
    }


def test_each_claim_has_a_jti_of_its_own(server: Server, make: Open, tmp_path: Path) -> None:
    make_key(tmp_path / "k.pem", "ES384")
    client = make(SignedClaim(client_id="gw", keys=(tmp_path / "k.pem",)))
    server.refuses = 1
    client.get(f"{BASE}/metadata")
    claims = [json.loads(_part(form["client_assertion"])) for form in server.forms]
    assert len({one["jti"] for one in claims}) == 2


def _part(token: str) -> bytes:
    text = token.split(".")[1]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_key_that_was_changed_signs_without_a_restart(server: Server, make: Open, tmp_path: Path) -> None:
    file = tmp_path / "k.pem"
    first = make_key(file, "ES384")
    client = make(SignedClaim(client_id="gw", keys=(file,)))
    client.get(f"{BASE}/metadata")
    file.unlink()
    second = make_key(file, "RS384")
    server.refuses = 1
    client.get(f"{BASE}/metadata")
    heads = [
        json.loads(base64.urlsafe_b64decode(f["client_assertion"].split(".")[0] + "==")) for f in server.forms
    ]
    assert [head["kid"] for head in heads] == [first.kid, second.kid]


def test_a_token_that_is_refused_is_renewed_once(server: Server, make: Open) -> None:
    client = make(SECRET)
    server.refuses = 1
    assert client.post(f"{BASE}/ImagingStudy", content=b"{}").status_code == 200
    assert server.given == 2
    server.refuses = 2
    assert client.post(f"{BASE}/ImagingStudy", content=b"{}").status_code == 401
    assert server.given == 3


def test_only_one_asks_while_many_wait(server: Server, make: Open) -> None:
    client = make(SECRET)
    server.pause.clear()
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.get(f"{BASE}/x").status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    server.pause.set()
    for thread in threads:
        thread.join(10)
    assert statuses == [200] * 8
    assert server.given == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (httpx.Response(400, json={"error": "invalid_client"}), "no token: answered 400: invalid_client"),
        (httpx.Response(200, json={}), "no token: answered 200"),
        (httpx.Response(200, text="<html>"), "no token: answered 200"),
        (httpx.Response(200, json={"access_token": "a\nb"}), "no token: answered 200"),
        (httpx.Response(503, headers={"Retry-After": "9"}), "no token: answered 503"),
    ],
)
def test_without_a_token_it_is_tried_again_later(
    server: Server, make: Open, answer: httpx.Response, text: str
) -> None:
    server.answer = answer
    with pytest.raises(Unavailable, match=text) as caught:
        make(SECRET).get(f"{BASE}/metadata")
    assert caught.value.retry_after_s == (9.0 if answer.status_code == 503 else None)
    assert "s:3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("configuration", "text"),
    [
        ({}, "set token_url"),
        ({"token_endpoint": 7}, "set token_url"),
        ({"token_endpoint": "http://ehr.example/token"}, "without TLS"),
    ],
)
def test_a_server_that_does_not_say_where_is_told_of(
    server: Server, make: Open, configuration: dict[str, Any], text: str
) -> None:
    server.configuration = configuration
    with pytest.raises(Unavailable, match=text):
        make(SECRET).get(f"{BASE}/metadata")
    assert make(replace(SECRET, token_url="https://ehr.example/token")).get(f"{BASE}/x").status_code == 200


def test_a_key_that_is_not_there_is_told_of(server: Server, make: Open, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"no token: .*cannot be read"):
        make(SignedClaim(client_id="gw", keys=(tmp_path / "no.pem",))).get(f"{BASE}/metadata")


def test_no_secret_shows() -> None:
    assert "3cret" not in repr(SECRET)


@pytest.mark.parametrize("lasts", [None, "soon", 0])
def test_a_token_without_an_end_counts_for_a_while(server: Server, make: Open, lasts: object) -> None:
    server.lasts_s = lasts
    client = make(SECRET)
    for _ in range(2):
        assert client.get(f"{BASE}/metadata").status_code == 200
    assert server.given == 1
