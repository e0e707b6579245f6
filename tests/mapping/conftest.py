"""Modules written for one test, and what came of a message as plain JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.mapping.groups import order_groups
from gateway.mapping.registry import Modules
from gateway.mapping.scope import Group
from gateway.model.er7 import read_er7
from gateway.model.order import Mapped

HEAD = "MSH|^~\\&|RIS|HOSP|GW|RAD|20261114093015||ORM^O01|1|P|2.3.1\r"

ModulesOf = Callable[..., Modules]
GroupOf = Callable[[str], Group]
Plain = Callable[[Mapped], Any]


@pytest.fixture
def modules_of(tmp_path: Path) -> ModulesOf:
    """The modules of the files given, by name and text."""

    def load(files: dict[str, str], *, timezone: str = "Europe/London") -> Modules:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Modules.load(tmp_path, site={"timezone": timezone})

    return load


@pytest.fixture
def group_of() -> GroupOf:
    """The first order of a message whose segments are given, one a line."""

    def group(segments: str) -> Group:
        return order_groups(read_er7(HEAD + segments.strip().replace("\n", "\r")))[0]

    return group


@pytest.fixture
def plain() -> Plain:
    """What a golden file holds of a mapped message: everything but lines of the module."""

    def describe(mapped: Mapped) -> Any:
        return {
            "module": mapped.module.name if mapped.module else None,
            "skipped": list(mapped.skipped),
            "requests": [
                {
                    "action": str(request.action),
                    "attributes": _lists(request.attributes),
                    "faults": [
                        f"{fault.severity} {fault.code} {fault.text} @ {fault.place or '-'}"
                        for fault in request.faults
                    ],
                    "service_request": request.service_request,
                    "subject": request.subject,
                }
                for request in mapped.requests
            ],
        }

    return describe


def _lists(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_lists(item) for item in value]
    return {key: _lists(inner) for key, inner in value.items()} if isinstance(value, dict) else value
