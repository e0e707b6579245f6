"""Remember: what a FHIR server called the things that we wrote there, each note a transaction of its own."""

from gateway.flow.ports import Ports
from gateway.model.written import Written
from gateway.store import written


def recall(ports: Ports, destination: str, address: str) -> Written | None:
    """What the destination called it last; None when it is not known."""
    with ports.database.read() as tx:
        return written.of(tx, destination, address)


def remember(ports: Ports, destination: str, address: str, known: Written) -> None:
    """What the destination calls it is kept."""
    with ports.database.write() as tx:
        written.save(tx, destination, address, known, ports.clock())


def forget(ports: Ports, destination: str, address: str) -> None:
    """What the destination called it counts no more."""
    with ports.database.write() as tx:
        written.forget(tx, destination, address)
