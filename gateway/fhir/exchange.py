"""One request to a FHIR server and its whole answer, within bounds of time and size."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from gateway.model.errors import Unavailable
from gateway.model.written import Written

MAX_ANSWER_BYTES = 1024 * 1024
LONGEST_RETRY_AFTER_S = 3600.0

_LOCATION = re.compile(r"([A-Za-z]{1,64})/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?/?$")
_ETAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said, read to its end."""

    status: int
    body: bytes = b""
    retry_after_s: float | None = None  # None: the server did not say
    is_fhir: bool = True  # False: a page of something else that stands in between
    location: str = ""  # Location, else Content-Location
    etag: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the server did what was asked."""
        return 200 <= self.status < 300

    def tree(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def written(self, kind: str) -> Written | None:
        """The id and version that the server gave, by its headers or the resource it sent back; None when by neither.

        Source: FHIR R4 http.html, create, update (Location, ETag).
        """
        tree = self.tree()
        own = tree if isinstance(tree, dict) and tree.get("resourceType") == kind else {}
        found = _LOCATION.search(self.location)
        if found is not None and found[1] == kind:
            return Written(id=found[2], version=found[3] or _version(self.etag, own))
        own_id = own.get("id")
        return Written(id=own_id, version=_version(self.etag, own)) if isinstance(own_id, str) else None


class Connection:
    """Connections to one server. Safe to use from several threads."""

    def __init__(
        self, client: httpx.Client, timeout_s: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`timeout_s` bounds connecting and each wait for bytes; a whole answer may take three times that."""
        self._client = client
        self._timeout_s = timeout_s
        self._monotonic = monotonic

    def ask(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """The whole answer, whatever it says. Raises Unavailable when none came."""
        try:
            with self._client.stream(method, url, content=body or None, headers=headers) as response:
                return self._read(response, max_bytes)
        except httpx.ConnectError:
            raise Unavailable("cannot be reached") from None
        except httpx.TimeoutException:
            raise Unavailable(f"no answer within {self._timeout_s:g} s") from None
        except httpx.RequestError as error:
            raise Unavailable(f"the connection broke ({type(error).__name__})") from None

    def close(self) -> None:
        """No connection is open any more."""
        self._client.close()

    def _read(self, response: httpx.Response, max_bytes: int) -> Answer:
        until = self._monotonic() + 3 * self._timeout_s
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > max_bytes:
                raise Unavailable(f"the answer is longer than {max_bytes} bytes")
            if self._monotonic() > until:
                raise Unavailable(f"no whole answer within {3 * self._timeout_s:g} s")
        said = response.headers
        label = said.get("content-type", "").lower()
        return Answer(
            status=response.status_code,
            body=bytes(body),
            retry_after_s=_retry_after_s(said),
            is_fhir=not body or "fhir" in label or "json" in label,
            location=said.get("location") or said.get("content-location") or "",
            etag=said.get("etag", ""),
        )


def _version(etag: str, own: Mapping[str, Any]) -> str | None:
    found = _ETAG.fullmatch(etag.strip())
    if found is not None:
        return found[1]
    meta = own.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _retry_after_s(answered: httpx.Headers) -> float | None:
    """Seconds the server asks us to wait, at most an hour; None when it does not say. Source: RFC 9110 10.2.3."""
    text = answered.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        # Both are by the server's own clock.
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answered.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
