"""The port that pages and FHIR are served on: its socket, its TLS, and what a request tells of its connection."""

import asyncio
import hashlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.model.connection import STATE, Certificate, Connection, subject_in

log = logging.getLogger(__name__)

Contexts = Callable[[], ssl.SSLContext]
"""A ready context for each connection."""

_GRACE_S = 5


def open_port(bind: str, port: int) -> socket.socket:
    """A listening socket whose answers leave at once. Raises OSError.

    asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer waits 40 ms for an ACK.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    opened = socket.create_server((bind, port), family=family, backlog=128)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def make_server(app: ASGIApp, contexts: Contexts | None = None) -> uvicorn.Server:
    """What serves `app` on sockets that it is given; with `contexts` by TLS alone.

    Each request's state has the Connection it came by, under STATE.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ssl_context_factory=(lambda _config, _default: _Renewed(contexts)) if contexts else None,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)


class _Protocol(HttpToolsProtocol):
    """uvicorn's own; beside that each request says what its connection shows.

    uvicorn tells the application nothing of certificates (it lacks ASGI's TLS extension), and X-Forwarded-For from this
    computer takes the place of the address. Only the protocol has the transport in its hands, so that this is where
    both can be had: read once a connection, and nothing that a client writes can change them.
    """

    _connection: Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection stands, and by TLS its certificate is verified."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self._connection = Connection(address=address, certificate=_shown(transport))

    def on_message_begin(self) -> None:
        """A request begins; the parser calls this."""
        super().on_message_begin()
        self.scope["state"][STATE] = self._connection


def _shown(transport: asyncio.Transport) -> Certificate | None:
    """The verified certificate of the client; None when it showed none."""
    verified = transport.get_extra_info("peercert")  # empty unless it was verified
    if not verified:
        return None
    der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return Certificate(fingerprint=hashlib.sha256(der).hexdigest(), subject=subject_in(verified))


class _Renewed(ssl.SSLContext):
    """Begins each connection with the context of the certificate files as they are then.

    asyncio is given one context when it begins to listen, and asks it for every connection's end (`wrap_bio`). Another
    one there, rather than another certificate by `sni_callback`, also changes the authorities and ends the sessions
    that an older one let resume.
    """

    contexts: Contexts

    def __new__(cls, _contexts: Contexts) -> "_Renewed":
        """Of the kind that servers need; never used itself."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, contexts: Contexts) -> None:
        self.contexts = contexts

    def wrap_bio(self, *ends: Any, **how: Any) -> ssl.SSLObject:
        """One connection's end."""
        context = self.contexts()
        context.sslobject_class = _Greeting
        return context.wrap_bio(*ends, **how)


class _Greeting(ssl.SSLObject):
    """One connection's end, which tells the log why no connection came about: asyncio keeps that to itself."""

    def do_handshake(self) -> None:
        """The next step of the handshake. Raises SSLError."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            log.info("http.turned_away", extra={"reason": error.reason})
            raise
