"""A site's own transforms: Python files in `transforms/` beside the modules, opted in by name at start-up.

    from gateway.mapping.transforms.custom import transform

    @transform
    def room_of(text: str) -> str:
        '''The room of a resource code.'''
        return text.partition("-")[0]

The function's name is the transform's, its docstring says what it does. It takes the text of each value, and an
argument of type str for each further parameter; an empty result drops the value, ValueError means that the value
cannot be used. Nothing is loaded that is not listed.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from gateway.mapping.scope import Data, Run, Unfit, text_of
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.shape import Apply, Arguments, Parameter, Setting, Transform
from gateway.model.errors import Invalid

FOLDER = "transforms"

_PACKAGE = "gateway_site_transforms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """A function that is a transform; it can still be called."""

    function: Callable[..., str]

    def __call__(self, text: str, **arguments: str) -> str:
        """What the function makes of the text."""
        return self.function(text, **arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomTransforms:
    """The catalogue with the site's own transforms in it, and the content of their files."""

    transforms: Mapping[str, Transform]
    contents: tuple[bytes, ...]
    faults: tuple[str, ...]


def transform(function: Callable[..., str]) -> Custom:
    """Make a transform of a function from text to text."""
    return Custom(function=function)


def load_custom(folder: Path, files: Iterable[str]) -> CustomTransforms:
    """The transforms of the listed files below `folder`/transforms; a file with a fault adds none."""
    known = dict(TRANSFORMS)
    contents: list[bytes] = []
    faults: list[str] = []
    for name in files:
        try:
            content, found = _read_file(folder / FOLDER, name)
            twice = sorted(found.keys() & known.keys())
            if twice:
                raise Invalid(f"{FOLDER}/{name}:1:1: the transform '{twice[0]}' is there already")
        except Invalid as fault:
            faults.extend(fault.faults)
        else:
            known.update(found)
            contents.append(content)
    return CustomTransforms(transforms=known, contents=tuple(contents), faults=tuple(faults))


def _read_file(folder: Path, name: str) -> tuple[bytes, dict[str, Transform]]:
    """The content of a file and the transforms it defines. Raises Invalid."""
    start = f"{FOLDER}/{name}:1:1"
    path = (folder / name).resolve()
    if path.suffix != ".py" or path.parent != folder.resolve():
        raise Invalid(f"{start}: a file of transforms is a .py file in the folder {FOLDER}")
    try:
        content = path.read_bytes()
    except OSError:
        raise Invalid(f"{start}: the file cannot be read") from None
    module = _imported(path, start)
    found = {key: _transform(key, value) for key, value in vars(module).items() if isinstance(value, Custom)}
    if not found:
        raise Invalid(f"{start}: the file defines no function with @transform")
    return content, found


def _imported(path: Path, start: str) -> ModuleType:
    spec = spec_from_file_location(f"{_PACKAGE}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Invalid(f"{start}: the file cannot be imported")
    module = module_from_spec(spec)
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # the folder of the modules may be read-only
    try:
        spec.loader.exec_module(module)
    except Exception as fault:  # the site's own code may raise anything
        raise Invalid(f"{start}: the file cannot be imported: {type(fault).__name__}: {fault}") from None
    finally:
        sys.dont_write_bytecode = writes
    return module


def _transform(name: str, custom: Custom) -> Transform:
    parameters = tuple(inspect.signature(custom.function).parameters.values())[1:]
    lines = (inspect.getdoc(custom.function) or "a transform of this site").splitlines()

    def make(arguments: Arguments, setting: Setting) -> Apply:
        def apply(data: Data, run: Run) -> Data:
            made = (_called(name, custom, text_of(datum), arguments) for datum in data)
            return tuple(text for text in made if text.strip())

        return apply

    return Transform(
        name=name,
        about=lines[0],
        make=make,
        parameters=tuple(
            Parameter(name=p.name, default=None if p.default is p.empty else str(p.default))
            for p in parameters
        ),
    )


def _called(name: str, custom: Custom, text: str, arguments: Arguments) -> str:
    try:
        return str(custom(text, **arguments) or "")
    except ValueError:
        raise Unfit(f"is refused by {name}") from None
    except Exception as fault:  # one order must not stop on the site's own code
        raise Unfit(f"cannot be used: {name} failed with {type(fault).__name__}") from None
