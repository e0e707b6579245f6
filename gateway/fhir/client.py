"""Studies written to FHIR servers, so that what is sent twice is there once."""

import json
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from gateway.fhir.auth import headers
from gateway.fhir.destination import Destination, Write
from gateway.fhir.imaging_study import KIND, identifier_of
from gateway.fhir.outcome import MEDIA_TYPE, encode, read_outcome
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable

MAX_ANSWER_BYTES = 1024 * 1024
LONGEST_RETRY_AFTER_S = 3600.0

_PASSING = frozenset({408, 409, 425, 429})  # trying again may help: time-outs, version conflicts, haste
_NEVER = frozenset({501, 505})  # the server cannot do it, today or tomorrow
_NO_TRANSACTIONS = frozenset(
    {404, 405, 501}
)  # a server need not take them. Source: FHIR R4 http.html, transaction
_SEVERAL = "several studies there have this Study Instance UID"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a server said, read to its end."""

    status: int
    retry_after_s: float | None
    is_fhir: bool  # False: a page of something else that stands in between
    body: bytes


class Client:
    """Connections to the destinations. Safe to use from several threads."""

    def __init__(
        self,
        destinations: Iterable[Destination],
        timeout_s: float = 10,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` bounds connecting and each wait for bytes; a whole answer may take three times that."""
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._destinations = {destination.name: destination for destination in destinations}
        trust = ssl.create_default_context()  # the computer's own: a hospital's CA is installed there
        self._connections = {
            name: _connection(destination, timeout_s, trust)
            for name, destination in self._destinations.items()
        }

    def send(self, delivery: Delivery) -> None:
        """The destination has the study in the state of the delivery.

        Raises Unavailable when trying again may help, Refused with what the server said when it never will.
        """
        destination = self._destinations.get(delivery.destination)
        if destination is None:
            raise Refused("the destination is not configured any more")
        if delivery.kind != KIND:
            raise Refused("a FHIR destination takes studies only")
        if destination.write is not Write.TRANSACTION or not self._transact(destination, delivery):
            self._update(destination, delivery)

    def close(self) -> None:
        """No connection is open any more."""
        for connection in self._connections.values():
            connection.close()

    def _transact(self, destination: Destination, delivery: Delivery) -> bool:
        """Whether the server takes transactions; when it does, it has the study."""
        answer = self._ask(destination, "POST", destination.url, _transaction(delivery))
        if answer.status in _NO_TRANSACTIONS:
            return False
        _judge(answer)
        _judge(_entry_answer(answer))
        return True

    def _update(self, destination: Destination, delivery: Delivery) -> None:
        url = f"{destination.url}/{KIND}?identifier={identifier_of(delivery.key)}"
        answer = self._ask(destination, "PUT", url, delivery.payload)
        _judge(answer)
        if not answer.is_fhir:
            raise Unavailable(f"answered {answer.status} with something that is no FHIR")

    def _ask(self, destination: Destination, method: str, url: str, body: bytes) -> _Answer:
        """Raises Unavailable when no whole answer came."""
        connection = self._connections[destination.name]
        try:
            with connection.stream(method, url, content=body) as response:
                return self._read(response)
        except httpx.ConnectError:
            raise Unavailable("cannot be reached") from None
        except httpx.TimeoutException:
            raise Unavailable(f"no answer within {self._timeout_s:g} s") from None
        except httpx.RequestError as error:
            raise Unavailable(f"the connection broke ({type(error).__name__})") from None

    def _read(self, response: httpx.Response) -> _Answer:
        until = self._monotonic() + 3 * self._timeout_s
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise Unavailable(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            if self._monotonic() > until:
                raise Unavailable(f"no whole answer within {3 * self._timeout_s:g} s")
        label = response.headers.get("content-type", "").lower()
        return _Answer(
            status=response.status_code,
            retry_after_s=_retry_after_s(response.headers),
            is_fhir=not body or "fhir" in label or "json" in label,
            body=bytes(body),
        )


def _connection(destination: Destination, timeout_s: float, trust: ssl.SSLContext) -> httpx.Client:
    return httpx.Client(
        headers={
            "Accept": MEDIA_TYPE,
            "Content-Type": MEDIA_TYPE,
            "Prefer": "return=minimal",
            **headers(destination.auth),
        },
        timeout=timeout_s,
        verify=trust,
        follow_redirects=False,  # a credential goes to its own server alone
        trust_env=False,
    )


def _transaction(delivery: Delivery) -> bytes:
    """A transaction Bundle with the one study in it, its bytes untouched. Source: FHIR R4 http.html, transaction."""
    request = {"method": "PUT", "url": f"{KIND}?identifier={identifier_of(delivery.key)}"}
    before = b'{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":'
    name = json.dumps(f"urn:oid:{delivery.key}").encode()
    return before + name + b',"resource":' + delivery.payload + b',"request":' + encode(request) + b"}]}"


def _entry_answer(answer: _Answer) -> _Answer:
    """What the server says of the one entry. Raises Unavailable when it does not say."""
    try:
        response = json.loads(answer.body)["entry"][0]["response"]
        status = int(response["status"][:3])  # "201 Created" or "201"
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Unavailable(f"answered {answer.status} without a transaction's response") from None
    outcome = response.get("outcome")
    return _Answer(
        status=status,
        retry_after_s=None,
        is_fhir=True,
        body=json.dumps(outcome).encode(),
    )


def _judge(answer: _Answer) -> None:
    """Nothing happens when the server did it. Raises Unavailable or Refused."""
    if 200 <= answer.status < 300:
        return
    text = f"answered {answer.status}"
    said = _said(answer)
    if answer.status == 412:
        text = f"{text}: {_SEVERAL}"
    text = f"{text}: {said}" if said else text
    if answer.status in _PASSING or (answer.status >= 500 and answer.status not in _NEVER):
        raise Unavailable(text, retry_after_s=answer.retry_after_s)
    raise Refused(text)


def _said(answer: _Answer) -> str:
    try:
        return read_outcome(json.loads(answer.body))
    except (ValueError, RecursionError):
        return ""


def _retry_after_s(answered: httpx.Headers) -> float | None:
    """Seconds the server asks us to wait, at most an hour; None when it does not say. Source: RFC 9110 10.2.3."""
    text = answered.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        # Both are by the server's own clock.
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answered.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
