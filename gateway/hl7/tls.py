"""TLS for listeners: certificate files, read again when they change, for the connections that come after."""

import logging
import ssl
from pathlib import Path

from gateway.model.errors import Invalid

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """What a listener proves itself with, and by whom the certificates of its clients must be signed."""

    def __init__(self, *, name: str, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """`name` is the key in the configuration, for messages. With `client_ca` every client needs a certificate.

        Raises Invalid when a file cannot be read or does not fit.
        """
        self._name = name
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._stamp = self._stamped()
        self._context = self._load()

    @property
    def asks_clients(self) -> bool:
        """Whether a client must show a certificate."""
        return self._client_ca is not None

    def context(self) -> ssl.SSLContext:
        """What the next connection is taken with: of the files as they are, or as they last were good."""
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._load()
            except Invalid as error:
                log.error("hl7.certificate_refused", extra={"key": self._name, "reason": str(error)})
            else:
                log.info("hl7.certificate_read", extra={"key": self._name})
        return self._context

    def _stamped(self) -> _Stamp:
        """Changes when a file does; a file that is not there counts as a state of its own."""
        return tuple(_stamp(path) for path in (self._certificate, self._key, self._client_ca) if path)

    def _load(self) -> ssl.SSLContext:
        """Source: RFC 9325 3.1.1, nothing older than TLS 1.2."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._check_readable("certificate", self._certificate)
        self._check_readable("key", self._key)
        try:
            context.load_cert_chain(self._certificate, self._key, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(
                f"{self._name}.certificate and {self._name}.key: not a PEM certificate and its own key without a "
                f"password: {_reason(error)}"
            ) from None
        if self._client_ca is not None:
            self._check_readable("client_ca", self._client_ca)
            try:
                context.load_verify_locations(self._client_ca)
            except ssl.SSLError as error:
                raise Invalid(f"{self._name}.client_ca: not PEM certificates: {_reason(error)}") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _check_readable(self, key: str, path: Path) -> None:
        try:
            path.read_bytes()
        except OSError as error:
            raise Invalid(f"{self._name}.{key}: {path} cannot be read: {error.strerror}") from None


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__
