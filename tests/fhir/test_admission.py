"""Who may push: each kind of proof, lists of them, and what becomes of those who have none."""

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from gateway.fhir.admission import TRIES, Door
from gateway.fhir.auth import Basic, Bearer, Header, Source, is_admitted
from gateway.fhir.issuer import Issuer
from gateway.fhir.pushing import Addresses, Attempt, Check, ClientCertificate, PathSecret, Signature
from gateway.flow.ports import Ports
from gateway.model.connection import Certificate, Connection, read_subject
from gateway.proof_sections import PushProofs
from gateway.store import audit
from tests.conftest import FakeClock

BODY = b'{"resourceType": "ServiceRequest"}'
SECRET = "0123456789abcdef0123456789abcdef"
PRINT = "ab" * 32
ISSUER = "https://accounts.example"


def _hmac(algorithm: str = "sha256") -> bytes:
    return hmac.new(SECRET.encode(), BODY, algorithm).digest()


def _attempt(headers: dict[str, str] | None = None, **more: Any) -> Attempt:
    given = {name.lower(): value for name, value in (headers or {}).items()}
    connection = Connection(address=more.get("peer", "10.0.0.9"))
    return Attempt(headers=given, **{"peer": "10.0.0.9", "connection": connection, "body": BODY, **more})


def _by(address: str = "10.0.0.9", fingerprint: str = "", subject: str = "CN=ehr,O=Hospital") -> Connection:
    shown = Certificate(fingerprint=fingerprint, subject=read_subject(subject)) if fingerprint else None
    return Connection(address=address, certificate=shown)


def _source(*ways: tuple[Check, ...]) -> Source:
    return Source(name="ehr", auth=ways)


MEDPLUM = Signature(header="X-Signature", secret=SECRET)
WEBSUB = Signature(header="X-Hub-Signature", secret=SECRET, prefix="sha256=")
ENCODED = Signature(header="X-Mac", secret=SECRET, encoding="base64", algorithm="sha512")
PROXIED = ClientCertificate(
    header="X-Client-Cert", fingerprints=frozenset({PRINT}), proxies=(ip_network("10.0.0.0/24"),)
)
OWN = ClientCertificate(fingerprints=frozenset({PRINT}))
NAMED = ClientCertificate(subjects=(read_subject("CN=pacs"), read_subject("CN=ehr")))
BOTH = ClientCertificate(fingerprints=frozenset({PRINT}), subjects=(read_subject("CN=ehr"),))
HERE = Addresses(networks=(ip_network("10.0.0.0/24"),))


@pytest.mark.parametrize(
    ("proof", "attempt", "is_in"),
    [
        (Header(name="X-Key", value=SECRET), _attempt({"x-key": SECRET}), True),
        (Header(name="X-Key", value=SECRET), _attempt({"X-Key": SECRET[:-1]}), False),
        (Header(name="X-Key", value=SECRET), _attempt(), False),
        (MEDPLUM, _attempt({"X-Signature": _hmac().hex()}), True),
        (MEDPLUM, _attempt({"X-Signature": _hmac().hex().upper()}), True),
        (MEDPLUM, _attempt({"X-Signature": _hmac().hex()}, body=BODY + b" "), False),
        (MEDPLUM, _attempt({"X-Signature": hashlib.sha256(BODY).hexdigest()}), False),
        (MEDPLUM, _attempt(), False),
        (WEBSUB, _attempt({"X-Hub-Signature": f"sha256={_hmac().hex()}"}), True),
        (WEBSUB, _attempt({"X-Hub-Signature": _hmac().hex()}), False),
        (ENCODED, _attempt({"X-Mac": base64.b64encode(_hmac("sha512")).decode()}), True),
        (ENCODED, _attempt({"X-Mac": base64.b64encode(_hmac("sha512")).decode().lower()}), False),
        (PathSecret(secret=SECRET), _attempt(secret=SECRET), True),
        (PathSecret(secret=SECRET), _attempt(secret=""), False),
        (PROXIED, _attempt({"X-Client-Cert": ":".join(["AB"] * 32)}), True),
        (PROXIED, _attempt({"X-Client-Cert": "cd" * 32}), False),
        (PROXIED, _attempt({"X-Client-Cert": PRINT}, peer="192.0.2.1"), False),
        (PROXIED, _attempt({"X-Client-Cert": PRINT}, connection=_by("192.0.2.1")), False),
        (PROXIED, _attempt({"X-Client-Cert": PRINT}, peer="192.0.2.1", connection=_by()), True),
        (PROXIED, _attempt(peer="192.0.2.1", connection=_by("192.0.2.1", PRINT)), True),
        (PROXIED, _attempt({"X-Client-Cert": "cd" * 32}, connection=_by(fingerprint="cd" * 32)), False),
        (OWN, _attempt(connection=_by(fingerprint=PRINT)), True),
        (OWN, _attempt(connection=_by(fingerprint="cd" * 32)), False),
        (OWN, _attempt({"X-Client-Cert": PRINT, "": PRINT}, connection=_by("127.0.0.1")), False),
        (NAMED, _attempt(connection=_by(fingerprint="cd" * 32)), True),
        (NAMED, _attempt(connection=_by(fingerprint=PRINT, subject="CN=ris,O=Hospital")), False),
        (NAMED, _attempt(), False),
        (BOTH, _attempt(connection=_by(fingerprint=PRINT)), True),
        (BOTH, _attempt(connection=_by(fingerprint=PRINT, subject="CN=ris")), False),
        (BOTH, _attempt(connection=_by(fingerprint="cd" * 32)), False),
        (ClientCertificate(), _attempt(connection=_by(fingerprint=PRINT)), False),
        (HERE, _attempt(), True),
        (HERE, _attempt(peer="::ffff:10.0.0.8"), True),
        (HERE, _attempt(peer="192.0.2.1"), False),
        (HERE, _attempt(peer=""), False),
    ],
)
def test_a_proof_holds_or_not(proof: Check, attempt: Attempt, is_in: bool) -> None:
    assert is_admitted(_source((proof,)), attempt) is is_in


def test_any_way_suffices_and_all_of_a_way_must_hold() -> None:
    source = _source((Bearer(token="one"),), (Basic(user="u", password="p"), HERE))
    basic = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    assert is_admitted(source, _attempt({"Authorization": "Bearer one"}, peer="192.0.2.1"))
    assert is_admitted(source, _attempt(basic))
    assert not is_admitted(source, _attempt(basic, peer="192.0.2.1"))


@given(st.text(max_size=60), st.binary(max_size=60))
def test_no_guess_is_admitted(guess: str, body: bytes) -> None:
    headers = {"authorization": f"Bearer {guess}", "x-signature": guess, "x-key": guess}
    attempt = Attempt(
        headers=headers, secret=guess, peer=guess, connection=Connection(address=guess), body=body
    )
    proofs = (
        Bearer(token=SECRET),
        MEDPLUM,
        Header(name="X-Key", value=SECRET),
        PathSecret(secret=SECRET),
        HERE,
        PROXIED,
        OWN,
    )
    assert not any(is_admitted(_source((proof,)), attempt) for proof in proofs)


class Keys:
    """An issuer's address for keys, and how often it was asked."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig", "alg": "ES256"})
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"jwks_uri": f"{ISSUER}/keys"})
        return httpx.Response(200, json=KeySet([self.key]).as_dict(private=False))

    def token(self, at: datetime, **more: Any) -> dict[str, str]:
        now = int(at.timestamp())
        claims = {"iss": ISSUER, "aud": "gateway", "sub": "pubsub", "iat": now, "exp": now + 600, **more}
        text = jwt.encode({"alg": "ES256", "kid": self.key.kid or ""}, claims, self.key)
        return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def keys() -> Keys:
    return Keys()


def _issuer(keys: Keys, clock: FakeClock, now: Callable[[], float] = lambda: 0.0, **more: str) -> Issuer:
    transport = httpx.MockTransport(keys)
    return Issuer(ISSUER, audience="gateway", clock=clock, transport=transport, monotonic=now, **more)


@pytest.mark.parametrize(
    ("claims", "is_in"),
    [
        ({}, True),
        ({"aud": ["other", "gateway"]}, True),
        ({"aud": "other"}, False),
        ({"iss": "https://other.example"}, False),
        ({"exp": 1}, False),
        ({"exp": "never"}, False),
        ({"nbf": 99999999999}, False),
        ({"sub": "other"}, False),
        ({"email": "other@example.org"}, False),
        ({"email_verified": False}, False),
    ],
)
def test_a_signed_token_is_checked_whole(
    keys: Keys, clock: FakeClock, claims: dict[str, Any], is_in: bool
) -> None:
    issuer = _issuer(keys, clock, subject="pubsub", email="push@example.org")
    own = {"email": "push@example.org", "email_verified": True, **claims}
    assert is_admitted(_source((issuer,)), _attempt(keys.token(clock(), **own))) is is_in


def test_a_key_that_is_new_is_fetched_once_a_minute(keys: Keys, clock: FakeClock) -> None:
    now = [0.0]
    issuer = _issuer(keys, clock, lambda: now[0])
    assert is_admitted(_source((issuer,)), _attempt(keys.token(clock())))
    assert keys.asked == 2
    keys.key = ECKey.generate_key("P-256", {"kid": "k2", "use": "sig", "alg": "ES256"})
    assert not is_admitted(_source((issuer,)), _attempt(keys.token(clock())))
    now[0] = 61.0
    assert is_admitted(_source((issuer,)), _attempt(keys.token(clock())))
    assert keys.asked == 4


def test_no_key_and_a_shared_key_sign_nothing(keys: Keys, clock: FakeClock) -> None:
    issuer = _source((_issuer(keys, clock),))
    now = int(clock().timestamp())
    claims = {"iss": ISSUER, "aud": "gateway", "exp": now + 600}
    shared = OctKey.import_key(SECRET)
    forged = jwt.encode({"alg": "HS256", "kid": "k1"}, claims, shared)
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    body = forged.split(".")[1]
    for token in (forged, f"{head}.{body}.", "a.b.c", ""):
        assert not is_admitted(issuer, _attempt({"Authorization": f"Bearer {token}"}))


def _refused(door: Door, attempt: Attempt, *ways: tuple[Check, ...]) -> Response:
    answer = door.refused(_source(*(ways or ((PathSecret(secret=SECRET),),))), attempt)
    assert answer is not None
    return answer


def test_who_fails_is_told_counted_slowed_down_and_written_down(
    ports: Ports, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    door = Door(ports)
    wrong = _attempt(secret="f" * 32)
    answers = [_refused(door, wrong) for _ in range(TRIES + 3)]
    assert [answer.status_code for answer in answers] == [401] * TRIES + [429] * 3
    assert answers[-1].headers["retry-after"] == "60"
    assert ports.tally.counts("unadmitted") == {("ehr", "refused"): TRIES, ("ehr", "barred"): 3}
    assert _refused(door, _attempt(secret=SECRET)).status_code == 429
    assert (
        door.refused(_source((PathSecret(secret=SECRET),)), _attempt(secret=SECRET, peer="10.0.0.8")) is None
    )
    assert [warning[:16] for warning in door.warnings] == ["fhir.sources.ehr"]
    clock.advance(seconds=61)
    assert door.refused(_source((PathSecret(secret=SECRET),)), _attempt(secret=SECRET)) is None
    _refused(door, wrong)
    with ports.database.read() as tx:
        details = [event.detail for event in audit.of_subject(tx, "source:ehr")]
    assert sorted(details) == [
        "10.0.0.9: 1 request(s) without the right proof",
        f"10.0.0.9: {TRIES} request(s) without the right proof",
    ]
    clock.advance(seconds=901)
    assert list(door.warnings) == []
    shown = caplog.text + "".join(bytes(answer.body).decode() for answer in answers)
    assert SECRET not in shown
    assert "f" * 32 not in shown


def test_the_wrong_address_alone_is_forbidden(ports: Ports) -> None:
    way = (Bearer(token="one"), HERE)
    right = {"Authorization": "Bearer one"}
    assert _refused(Door(ports), _attempt(right, peer="192.0.2.1"), way).status_code == 403
    answer = _refused(Door(ports), _attempt(peer="192.0.2.1"), way)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="fhir"')


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("none", 0),
        ({"bearer": "a"}, 1),
        ([{"bearer": ["a", "b"]}, {"basic": ["u", "p"], "allow": ["10.0.0.0/8"]}], 2),
        ({"hmac": {"header": "X-Signature", "secret": ["a", "b"]}}, 1),
    ],
)
def test_settings_take_one_proof_or_a_list(given: Any, count: int) -> None:
    assert len(TypeAdapter(PushProofs).validate_python(given)) == count


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "proves nothing"),
        ({"bearer": ""}, "at least 1 character"),
        ({"basic": ["", "p"]}, "an empty secret protects nothing"),
        ({"url_token": "short"}, "128 bit"),
        ({"bearer": "a", "basic": ["u", "p"]}, "one Authorization header"),
        ({"mtls": {"header": "X", "fingerprints": ["ab"], "proxies": ["127.0.0.1"]}}, "SHA-256"),
        ({"mtls": {"header": "X", "proxies": ["127.0.0.1"]}}, "give fingerprints or subjects"),
        ({"mtls": {"fingerprints": [PRINT], "header": "X"}}, "belong together"),
        ({"mtls": {"fingerprints": [PRINT], "proxies": ["127.0.0.1"]}}, "belong together"),
        (
            {"mtls": {"subjects": ["CN=a"], "fingerprints": [PRINT], "header": "X", "proxies": ["::1"]}},
            "cannot go with header",
        ),
        ({"mtls": {"subjects": ["ehr"]}}, "CN=ris"),
        ({"password": "a"}, "Extra inputs"),
        ({"allow": ["not a network"]}, "network"),
    ],
)
def test_settings_that_protect_nothing_are_refused(given: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        TypeAdapter(PushProofs).validate_python(given)
