"""The certificates that the configuration names: whether they can be used, and when they end."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from gateway.assembly import dicom_tls, hl7_contexts, http_contexts
from gateway.certificates import expiry
from gateway.flow.ports import Clock
from gateway.model.errors import Invalid
from gateway.settings import Settings

WARN_BEFORE = timedelta(days=30)
LOOK_EVERY = timedelta(hours=1)


SERVICES = frozenset({"hl7", "http", "dicom"})
"""Those with ports that may need certificates."""


class Endings:
    """Knows when our certificates end; the files are read again after LOOK_EVERY. Safe to use from several threads."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._seen: tuple[datetime, tuple[str, ...]] | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Which certificates have ended or will soon, as of the last look."""
        seen, now = self._seen, self._clock()
        if seen is None or now - seen[0] >= LOOK_EVERY:
            self._seen = seen = (now, certificate_warnings(self._settings, now))
        return seen[1]


def check_certificates(settings: Settings, services: Iterable[str]) -> None:
    """Raises Invalid with every fault of the certificates that the ports of those services need."""
    if faults := tuple(filter(None, certificate_troubles(settings, services).values())):
        raise Invalid(*faults)


def certificate_troubles(settings: Settings, services: Iterable[str]) -> dict[str, str]:
    """For each key that gives a port of those services TLS, what is wrong with its files; "" when they are well."""
    wanted, found = frozenset(services), {}
    for service, key, read in _ports(settings):
        if service in wanted:
            found[key] = _trouble(read)
    return found


def certificate_warnings(settings: Settings, at: datetime) -> tuple[str, ...]:
    """Which certificates of ours have ended, or will within WARN_BEFORE. What cannot be read is told elsewhere."""
    return tuple(filter(None, (_ending(key, file, at) for key, file in _files(settings))))


def _ports(settings: Settings) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """The service, the key, and what reads the files. Each names its key in what it raises."""
    if settings.http.tls is not None:
        yield "http", "http.tls", partial(http_contexts, settings)
    if settings.dicom.tls.certificate is not None:
        yield "dicom", "dicom.tls", partial(dicom_tls, settings)
    for name, one in settings.hl7.listeners.items():
        if one.tls is not None:
            yield "hl7", f"hl7.listeners.{name}.tls", partial(hl7_contexts, name, one)


def _trouble(read: Callable[[], object]) -> str:
    try:
        read()
    except Invalid as error:
        return str(error)
    return ""


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Every certificate that we show, by its key."""
    if settings.http.tls is not None:
        yield "http.tls.certificate", settings.http.tls.certificate
    if settings.dicom.tls.certificate is not None:
        yield "dicom.tls.certificate", settings.dicom.tls.certificate
    for name, listener in settings.hl7.listeners.items():
        if listener.tls is not None:
            yield f"hl7.listeners.{name}.tls.certificate", listener.tls.certificate
    for name, told in settings.hl7.destinations.items():
        if told.tls_certificate is not None:
            yield f"hl7.destinations.{name}.tls_certificate", told.tls_certificate
    for name, peer in settings.fhir.destinations.items():
        if peer.auth.mtls is not None:
            yield f"fhir.destinations.{name}.auth.mtls", peer.auth.mtls.certificate
    for name, source in settings.fhir.sources.items():
        if source.read_auth.mtls is not None:
            yield f"fhir.sources.{name}.read_auth.mtls", source.read_auth.mtls.certificate


def _ending(key: str, file: Path, at: datetime) -> str:
    try:
        ends = expiry(file)
    except Invalid:
        return ""
    if ends - at > WARN_BEFORE:
        return ""
    day = ends.date().isoformat()
    says = "expired on" if ends <= at else "expires on"
    return f"{key}: the certificate {says} {day}; put a renewed one in the place of its file"
