"""TLS contexts out of certificate files, made anew when the files change. Whoever uses one names the protocol."""

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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


def server_contexts(files: CertificateFiles) -> Callable[[], ssl.SSLContext]:
    """A ready context for each connection that is accepted. Raises Invalid when the files cannot be used.

    With `authorities`, whoever connects must show a certificate that one of them signed.
    """
    return _Renewed(files, ssl.PROTOCOL_TLS_SERVER)


def client_contexts(files: CertificateFiles) -> Callable[[], ssl.SSLContext]:
    """A ready context for each connection that is made; the other side's name is checked. Raises Invalid."""
    return _Renewed(files, ssl.PROTOCOL_TLS_CLIENT)


class _Renewed:
    """The context of the files as they are; of the last ones that could be used when they cannot."""

    def __init__(self, files: CertificateFiles, protocol: int) -> None:
        self._files = files
        self._protocol = protocol
        self._lock = threading.Lock()
        self._seen = _stamps(files)
        self._context = _context(files, protocol)

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
            self._context = _context(self._files, self._protocol)
        except Invalid as error:
            log.error("certificate.unusable", extra={"reason": str(error)})
        else:
            log.info("certificate.renewed", extra={"file": str(self._files.certificate)})


def _context(files: CertificateFiles, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        if files.authorities is not None:
            context.load_verify_locations(files.authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        elif protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.load_default_certs()
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        raise Invalid(
            f"{files.certificate or files.authorities}: not a usable certificate: {reason}"
        ) from None
    return context


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
