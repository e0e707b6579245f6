"""Pure ASGI middleware: headers on every response, and the refusal of forms that other sites submit."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with that, browsers send "Origin: null" with the forms of our own pages (Fetch standard,
    # "append a request Origin header"), and over plain HTTP the origin is all there is to know them by.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""What a response says unless its page said otherwise."""

_YEAR_S = 365 * 24 * 3600
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SecureHeaders:
    """Adds HEADERS to every response, and what only makes sense by TLS when the site is reached so."""

    def __init__(self, app: ASGIApp, *, with_tls: bool) -> None:
        self._app = app
        self._headers = dict(HEADERS)
        if with_tls:
            self._headers["Strict-Transport-Security"] = f"max-age={_YEAR_S}"
            self._headers["Cross-Origin-Opener-Policy"] = "same-origin"  # browsers complain of it without TLS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Source: ASGI, HTTP connection scope."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class SameOrigin:
    """Refuses unsafe requests that a page of another site made a browser send."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Source: ASGI, HTTP connection scope."""
        if scope["type"] == "http" and scope["method"] not in _SAFE and not is_our_own(Headers(scope=scope)):
            refusal = PlainTextResponse("This request came from another site and was refused.\n", 403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_our_own(headers: Headers) -> bool:
    """Whether an unsafe request comes from a page of ours, or from a program that carries no session.

    Browsers say so themselves: Sec-Fetch-Site where the address is trustworthy (TLS or localhost), else Origin. A
    request with cookies that says neither is refused: nobody can tell who made it.
    Source: W3C Fetch Metadata 2.3; RFC 6454 7.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is not None:
        return _host(origin) == headers.get("host", "").lower() != ""
    return "cookie" not in headers


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
