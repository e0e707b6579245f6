"""A message that is mapped again, whichever kind it is."""

from dataclasses import dataclass

from gateway.mapping.fhir_paths import Graph
from gateway.mapping.registry import Modules
from gateway.model.er7 import Message
from gateway.model.order import Mapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A message as text and as what a module reads. `document` is the JSON of FHIR, None for HL7."""

    text: str
    content: Message | Graph
    document: object = None


def map_again(modules: Modules, readable: Readable) -> Mapped:
    """What the modules make of the message."""
    if isinstance(readable.content, Graph):
        return modules.map_fhir(readable.content)
    return modules.map_hl7(readable.content)
