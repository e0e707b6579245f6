"""Whether each part that a working gateway leans on is well, and where it is reached."""

import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.assembly import worklist_rules
from gateway.destinations import fhir_destinations
from gateway.fhir.client import Client
from gateway.fhir.lookout import Lookout
from gateway.flow.ports import Ports
from gateway.mapping.registry import Modules
from gateway.model.errors import GatewayError, Invalid
from gateway.own_certificates import SERVICES, certificate_troubles, certificate_warnings
from gateway.ports_assembly import make_ports
from gateway.settings import Settings

LEAST_FREE_BYTES = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Each part a working gateway leans on and what is wrong with it, "" when it is well; and what is odd."""

    troubles: Mapping[str, str]
    warnings: tuple[str, ...]


def check_setup(settings: Settings) -> Setup:
    """How fit the configuration is for work, as far as can be seen without starting."""
    chosen = settings.mappings
    modules = Modules.load(chosen.folder, site={"timezone": settings.site.timezone}, custom=chosen.transforms)
    ports = make_ports(settings)
    try:
        found = {
            "configuration": "",
            "mappings": "; ".join(modules.faults),
            "machines": "; ".join(worklist_rules(settings).machines.faults),
            "disk": disk_trouble(settings),
        }
        unmade = _unmade(ports)
        if not unmade:
            found["database"] = database_trouble(ports)
        found |= certificate_troubles(settings, SERVICES)
        doubts = (*unmade, *certificate_warnings(settings, ports.clock()), *_peer_doubts(settings, ports))
    finally:
        ports.database.close()
    for name, peer in settings.fhir.destinations.items():
        found[f"fhir.destinations.{name}"] = _peer_trouble(peer.url)
    for name, one in settings.hl7.destinations.items():
        found[f"hl7.destinations.{name}"] = _peer_trouble(f"mllp://{one.host}:{one.port}")
    return Setup(troubles=found, warnings=(*modules.warnings, *doubts))


def addresses() -> tuple[str, ...]:
    """This computer's own IPv4 addresses, the one of the default route first; 127.0.0.1 when it has no other."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only chooses the way
        found.append(probe.getsockname()[0])
    with suppress(OSError):
        found.extend(socket.gethostbyname_ex(socket.gethostname())[2])
    outside = [address for address in dict.fromkeys(found) if not address.startswith(("127.", "0."))]
    return tuple(outside) or ("127.0.0.1",)


def page_address(settings: Settings) -> str:
    """Where other computers reach the page."""
    bind = settings.http.bind
    return settings.http.address(addresses()[0] if bind in ("0.0.0.0", "::") else bind)


def database_trouble(ports: Ports) -> str:
    """What is wrong with the database; "" when it is well."""
    try:
        ports.database.is_current()
    except GatewayError as error:
        return str(error)
    return ""


def _unmade(ports: Ports) -> tuple[str, ...]:
    """That the first start will make the database: no trouble before it, and after it a sign of the wrong folder."""
    with suppress(Invalid):  # then it is trouble
        if not ports.database.is_there():
            return (
                f"store.url: there is no database at {ports.database.file} yet; "
                "'gateway serve' or 'gateway db upgrade' makes one",
            )
    return ()


def _peer_trouble(url: str) -> str:
    parts = urlsplit(url)
    try:
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection(address, timeout=5).close()
    except (OSError, ValueError) as error:
        return f"cannot be reached: {error}"
    return ""


def _peer_doubts(settings: Settings, ports: Ports) -> tuple[str, ...]:
    """What the FHIR servers say of themselves that does not go with the configuration."""
    destinations = fhir_destinations(settings)
    try:
        client = Client(destinations, ports, timeout_s=5)
    except Invalid as error:
        return (str(error),)
    try:
        return Lookout(destinations, client).look()
    finally:
        client.close()


def disk_trouble(settings: Settings) -> str:
    """What is wrong with the disk of the images; "" when it is well."""
    folder = settings.store.files.absolute()
    try:
        free = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free
    except OSError as error:
        return f"store.files: {folder} cannot be looked at: {error.strerror}"
    return f"store.files: only {free // 1_000_000} MB are free" if free < LEAST_FREE_BYTES else ""
