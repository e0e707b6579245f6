"""A module that can be read, asked whether it can mean what it says.

Faults keep a module out. Warnings do not: what they tell may be a sender's own way.
"""

from collections.abc import Mapping

from gateway.mapping import lint_fhir, lint_hl7
from gateway.mapping.lint_reach import note_unreachable
from gateway.mapping.lint_values import note_misfits
from gateway.mapping.lint_walk import fields_of, paths_of, text_at
from gateway.mapping.loader import Entries, Problems
from gateway.mapping.module import Source
from gateway.mapping.tables import Table


def lint_module(tree: Entries, tables: Mapping[str, Table], *, faults: Problems, warnings: Problems) -> None:
    """Note what is wrong with a module, its parents laid under it. What cannot be read is passed over."""
    source = text_at(tree, "source")
    if source and source.text == Source.FHIR:
        lint_fhir.note_strangers(tree, paths_of(tree), faults)
    else:
        lint_hl7.note_strangers(tree, paths_of(tree), warnings)
    note_misfits(fields_of(tree), tables, faults, warnings)
    note_unreachable(tree, faults, warnings)
