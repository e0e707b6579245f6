"""The store that a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.flow.ports import Ports
from gateway.ports_assembly import make_ports
from gateway.settings import Settings

ACTOR = "cli"
"""Who did it, for the audit trail."""


@contextmanager
def opened(settings: Settings) -> Iterator[Ports]:
    """The store and the site's rules, with the schema brought up to date. Raises Invalid, Unavailable."""
    ports = make_ports(settings)
    try:
        ports.database.upgrade()
        yield ports
    finally:
        ports.database.close()
