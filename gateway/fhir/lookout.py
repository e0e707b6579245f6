"""Whether the servers that are told can do what the configuration asks of them; a person is told when they cannot."""

import logging
from collections.abc import Iterable

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.discovery import doubts
from gateway.model.errors import Refused, Unavailable

log = logging.getLogger(__name__)

LOOK_S = 3600.0
"""A server that was changed is noticed within this."""


class Lookout:
    """What the destinations say of themselves, beside what they are configured to be."""

    def __init__(self, destinations: Iterable[Destination], client: Client) -> None:
        self._destinations = [one for one in destinations if one.write is not Write.WEBHOOK]
        self._client = client
        self._found: dict[str, tuple[str, ...]] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the last look found."""
        return tuple(text for found in self._found.values() for text in found)

    def look(self) -> tuple[str, ...]:
        """The warnings, asked for anew; new ones are logged. A server that is away is no fault."""
        for one in self._destinations:
            try:
                offers = self._client.offers(one.name)
            except Unavailable:
                continue
            except Refused as error:
                texts: tuple[str, ...] = (str(error),)
            else:
                texts = doubts(one, offers)
            found = tuple(f"fhir.destinations.{one.name}: {text}" for text in texts)
            if found and found != self._found.get(one.name):
                log.warning("fhir.destination.doubt", extra={"destination": one.name, "reasons": texts})
            self._found[one.name] = found
        return self.warnings
