"""The store that a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.flow.ports import Ports
from gateway.ports_assembly import make_ports
from gateway.settings import Settings

ACTOR = "cli"
"""Who did it, for the audit trail."""


@contextmanager
def opened(settings: Settings, *, may_be_new: bool = False) -> Iterator[Ports]:
    """The store and the site's rules, with the schema brought up to date. Raises Invalid, Unavailable.

    A database that is not there is made only where it `may_be_new`: a command typed in the wrong folder would else
    work on an empty one that nobody uses.
    """
    ports = make_ports(settings)
    try:
        if not may_be_new:
            ports.database.require()
        ports.database.upgrade()
        yield ports
    finally:
        ports.database.close()
