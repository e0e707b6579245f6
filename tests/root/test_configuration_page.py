import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gateway.sections import Auth
from gateway.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        inner = [k for k in get_args(kind) if isinstance(k, type) and issubclass(k, BaseModel)]
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Auth:
            yield from _keys(kind, f"{prefix}{name}.")
        elif inner and get_origin(kind) is dict:
            yield from _keys(inner[0], f"{prefix}{name}.NAME.")
        elif inner and get_origin(kind) is tuple:
            yield from _keys(inner[0], f"{prefix}{name}[].")
        else:
            yield f"{prefix}{name}", field.default


def test_the_page_names_every_key_and_no_other() -> None:
    named = re.findall(r"^\| `([a-z0-9_.\[\]A-Z]+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(key for key, _ in _keys(Settings))


def test_the_page_tells_the_defaults() -> None:
    for key, default in _keys(Settings):
        if isinstance(default, str | int | float | bool | Path) and default not in ("", PydanticUndefined):
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert re.search(rf"^\| `{re.escape(key)}` \| `{re.escape(shown)}`", PAGE, re.MULTILINE), key
