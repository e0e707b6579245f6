"""TLS contexts out of certificate files, made anew when the files change. Whoever uses one names the protocol."""

import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.model.errors import Invalid

log = logging.getLogger(__name__)

CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""For TLS 1.2; TLS 1.3 has its own, all of them fit. Source: BCP 195 (RFC 9325 4.2), DICOM PS3.15 B.13."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """PEM files. `authorities` sign the other side's certificates; None: a server asks for none, a client trusts the
    system's.
    """

    certificate: Path | None = None  # with its chain; None: a client that shows none
    key: Path | None = None
    authorities: Path | None = None
    name: str = ""  # the key in the configuration, for messages


def server_contexts(files: CertificateFiles, *, may_show_none: bool = False) -> Callable[[], ssl.SSLContext]:
    """A ready context for each connection that is accepted. Raises Invalid when the files cannot be used.

    With `authorities`, whoever connects must show a certificate that one of them signed; with `may_show_none` none will
    do as well, and another's will not.
    """
    return _Renewed(files, ssl.PROTOCOL_TLS_SERVER, ssl.CERT_OPTIONAL if may_show_none else ssl.CERT_REQUIRED)


def client_contexts(files: CertificateFiles) -> Callable[[], ssl.SSLContext]:
    """A ready context for each connection that is made; the other side's name is checked. Raises Invalid."""
    return _Renewed(files, ssl.PROTOCOL_TLS_CLIENT, ssl.CERT_REQUIRED)


def expiry(file: Path) -> datetime:
    """When the first certificate of the file ends, the chain's included. Raises Invalid when there is none in it."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Invalid(f"{file}: no PEM certificate") from None
    return min(one.not_valid_after_utc for one in found)


class _Renewed:
    """The context of the files as they are; of the last ones that could be used when they cannot."""

    def __init__(self, files: CertificateFiles, protocol: int, asks: ssl.VerifyMode) -> None:
        self._files = files
        self._protocol = protocol
        self._asks = asks
        self._lock = threading.Lock()
        self._seen = _stamps(files)
        self._context = _context(files, protocol, asks)

    def __call__(self) -> ssl.SSLContext:
        """The context for one connection."""
        with self._lock:
            stamps = _stamps(self._files)
            if stamps != self._seen:
                self._seen = stamps
                self._renew()
            return self._context

    def _renew(self) -> None:
        try:
            self._context = _context(self._files, self._protocol, self._asks)
        except Invalid as error:
            log.error("certificate.unusable", extra={"reason": str(error)})
        else:
            log.info("certificate.renewed", extra={"file": str(self._files.certificate)})


def _context(files: CertificateFiles, protocol: int, asks: ssl.VerifyMode) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    if files.certificate is not None:
        with _usable(
            files, "a PEM certificate with its own key, which has no password", files.certificate, files.key
        ):
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
    if files.authorities is not None:
        with _usable(files, "PEM certificates", files.authorities):
            context.load_verify_locations(files.authorities)
        context.verify_mode = asks
    elif protocol == ssl.PROTOCOL_TLS_CLIENT:
        context.load_default_certs()
    return context


@contextmanager
def _usable(files: CertificateFiles, what: str, *paths: Path | None) -> Iterator[None]:
    """The files are read within. Raises Invalid, which says which are not `what`: the ssl module does not."""
    prefix = f"{files.name}: " if files.name else ""
    for path in filter(None, paths):
        try:
            path.read_bytes()
        except OSError as error:
            raise Invalid(f"{prefix}{path} cannot be read: {error.strerror}") from None
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: of the key's password
        reason = getattr(error, "reason", None) or type(error).__name__
        named = " and ".join(str(path) for path in paths if path)
        raise Invalid(f"{prefix}{named}: not {what}: {reason}") from None


def _no_password() -> str:
    """A key that asks for a password would stop the gateway at its start to ask for it."""
    return ""


def _stamps(files: CertificateFiles) -> tuple[tuple[int, int] | None, ...]:
    return tuple(_stamp(path) for path in (files.certificate, files.key, files.authorities))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found is not None else None
