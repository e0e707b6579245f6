"""The modules of a folder: loaded, proved by their own examples, and chosen by what a message looks like."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from gateway.mapping import examples
from gateway.mapping.apply import Skipped, focus_to_match, map_message, map_resource
from gateway.mapping.conditions import is_disjoint, specificity
from gateway.mapping.fhir_paths import Graph
from gateway.mapping.groups import ABSENT, header_group
from gateway.mapping.inherit import merge_modules
from gateway.mapping.lint import lint_module
from gateway.mapping.loader import MAX_BYTES, Entries, Mark, Problems, Text, did_you_mean, read_yaml
from gateway.mapping.module import Module, Source
from gateway.mapping.reading import ModuleReader
from gateway.mapping.tables import MAX_TABLE_BYTES
from gateway.mapping.transforms.custom import CustomTransforms, load_custom
from gateway.model.er7 import Message
from gateway.model.errors import Invalid
from gateway.model.order import Mapped, OrderRequest

NO_ORDER = ABSENT["order"]
NOT_MEANT = "no mapping module is meant for this order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What `prove` tells: a line for each example, then the warnings and the faults."""

    lines: tuple[str, ...]
    is_good: bool


class Modules:
    """The mapping modules in use.

    A module with faults, or with an example that fails, is not used; `faults` says why, each line beginning
    with "file:line:col: ". `warnings`, written alike, keep no module out.
    """

    def __init__(
        self, modules: tuple[Module, ...], faults: tuple[str, ...], warnings: tuple[str, ...] = ()
    ) -> None:
        self.faults = faults
        self.warnings = warnings
        self._modules = {module.name: module for module in modules}
        ranked = sorted(modules, key=lambda module: (-_rank(module), module.name))
        self._by_source = {
            source: tuple(m for m in ranked if m.source is source and m.match) for source in Source
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The modules in use, by name."""
        return tuple(sorted(self._modules))

    @classmethod
    def load(cls, folder: Path, *, site: Mapping[str, str], custom: Sequence[str] = ()) -> "Modules":
        """The modules of the YAML files in `folder`. `site` are values that a module's own `site` overrides.

        `custom` are the files of `folder`/transforms whose transforms the modules may use.
        """
        read, faults, warnings = _read_folder(folder, site, custom)
        failed = [(module, examples.run(module)) for module in read]
        faults += [str(difference) for _, differences in failed for difference in differences]
        proved = tuple(module for module, differences in failed if not differences)
        tied = dict(ties(proved))
        faults += tied.values()
        usable = tuple(module for module in proved if module.name not in tied)
        return cls(usable, tuple(dict.fromkeys(faults)), tuple(dict.fromkeys(warnings)))

    def module(self, name: str) -> Module:
        """The module of that name.

        Raises Invalid when none of that name is in use.
        """
        if name not in self._modules:
            raise Invalid(f"'{name}' is no mapping module in use{did_you_mean(name, self.names)}")
        return self._modules[name]

    def map_hl7(self, message: Message) -> Mapped:
        """What the message asks for; `module` is None when none is meant for it."""
        header = header_group(message)
        candidates = self._by_source[Source.HL7V2]
        module = next((m for m in candidates if m.match and m.match.holds(header)), None)
        if module is None:
            return Mapped(requests=(), skipped=(), module=None)
        outcomes = map_message(module, message)
        return _mapped(outcomes or (Skipped(because=ABSENT[module.each]),), module)

    def map_fhir(self, graph: Graph) -> Mapped:
        """What the orders ask for; `module` is None when none is meant for any of them.

        Raises what `graph.resolve` raises.
        """
        outcomes: list[OrderRequest | Skipped] = []
        first: Module | None = None
        for order in graph.orders:
            candidates = self._by_source[Source.FHIR]
            module = next(
                (m for m in candidates if m.match and m.match.holds(focus_to_match(m, order))), None
            )
            outcomes.append(map_resource(module, graph, order) if module else Skipped(because=NOT_MEANT))
            first = first or module
        return _mapped(tuple(outcomes), first)


def prove(folder: Path, *, site: Mapping[str, str], custom: Sequence[str] = ()) -> Proof:
    """Every example of every module in `folder` run, those of its parents too, with the faults of all files."""
    read, _, _ = _read_folder(folder, site, custom)
    known = {module.name: module for module in read}
    lines = []
    for module in read:
        for example in module.examples:
            differences = examples.compare(module, example)
            lines.append(f"{module.name}: {example.name}: {'differs' if differences else 'ok'}")
        lines += [f"{module.name}: otherwise than its parent: {d}" for d in examples.inherited(module, known)]
    loaded = Modules.load(folder, site=site, custom=custom)
    return Proof(lines=(*lines, *loaded.warnings, *loaded.faults), is_good=not loaded.faults)


def _mapped(outcomes: tuple[OrderRequest | Skipped, ...], module: Module | None) -> Mapped:
    return Mapped(
        requests=tuple(outcome for outcome in outcomes if isinstance(outcome, OrderRequest)),
        skipped=tuple(outcome.because for outcome in outcomes if isinstance(outcome, Skipped)),
        module=module.ref if module else None,
    )


def _rank(module: Module) -> int:
    return specificity(module.match) if module.match else 0


def ties(modules: tuple[Module, ...]) -> Iterator[tuple[str, str]]:
    """The modules that some message would match equally well, each with what is wrong."""
    for one, other in combinations(modules, 2):
        if one.source is not other.source or not one.match or not other.match or _rank(one) != _rank(other):
            continue
        if not is_disjoint(one.match, other.match):
            for module, rival in ((one, other), (other, one)):
                yield (
                    module.name,
                    f"{module.mark}: '{module.name}' and '{rival.name}' match equally; neither is used",
                )


class _Folder:
    """The files beside a module, and what was read of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._digest = hashlib.sha256()

    def open_file(self, name: str) -> bytes:
        """The content of a file in the folder or below it.

        Raises Invalid when it is elsewhere, absent or too long.
        """
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise Invalid(f"'{name}' is outside the folder of the modules")
        try:
            content = path.read_bytes() if path.stat().st_size <= MAX_TABLE_BYTES else None
        except OSError:
            raise Invalid(f"'{name}' cannot be read") from None
        if content is None:
            raise Invalid(f"'{name}' is longer than {MAX_TABLE_BYTES} bytes")
        self.note(content)
        return content

    def note(self, content: bytes) -> None:
        """Count `content` among what the module's version stands for."""
        self._digest.update(len(content).to_bytes(8, "big") + content)

    def version(self) -> str:
        """The hash of everything noted."""
        return self._digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A module's file, read but not yet understood."""

    name: str
    parent: str
    tree: Entries
    content: bytes


def _read_folder(
    folder: Path, site: Mapping[str, str], custom: Sequence[str]
) -> tuple[tuple[Module, ...], list[str], list[str]]:
    """The modules that could be read, the faults and the warnings of all files."""
    files, faults = _read_files(folder)
    warnings = Problems()
    transforms = load_custom(folder, custom)
    faults += transforms.faults
    modules = []
    for file in files.values():
        try:
            modules.append(_read_module(file, files, folder, site, transforms, warnings))
        except Invalid as fault:
            faults.extend(fault.faults)
    return tuple(modules), faults, list(warnings.lines())


def _read_files(folder: Path) -> tuple[dict[str, _File], list[str]]:
    files: dict[str, _File] = {}
    faults: list[str] = []
    if not folder.is_dir():
        return {}, [f"{folder.name}:1:1: the folder of the mapping modules is not there"]
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
            tree = read_yaml(content, path.name)
            file = _File(
                name=_word(tree, "mapping"), parent=_word(tree, "extends"), tree=tree, content=content
            )
        except OSError:
            faults.append(f"{path.name}:1:1: the file cannot be read")
        except Invalid as fault:
            faults.extend(fault.faults)
        else:
            if file.name in files:
                mark = files[file.name].tree.mark
                faults.append(f"{tree.mark}: the module '{file.name}' stands already in {mark.file}")
            files.setdefault(file.name, file)
    return files, faults


def _word(tree: Entries, key: str) -> str:
    found = tree.find(key)
    return (found.text or "") if isinstance(found, Text) else ""


def _read_module(
    file: _File,
    files: Mapping[str, _File],
    folder: Path,
    site: Mapping[str, str],
    custom: CustomTransforms,
    warnings: Problems,
) -> Module:
    """Raises Invalid with every fault of the module, its parents included."""
    beside = _Folder(folder)
    merged: Entries | None = None
    for ancestor in reversed(_lineage(file, files)):
        beside.note(ancestor.content)
        merged = merge_modules(merged, ancestor.tree)
    for content in custom.contents:
        beside.note(content)
    tree = merged or file.tree
    reader = ModuleReader(tree, site=site, open_file=beside.open_file, transforms=custom.transforms)
    module = reader.module(beside.version)
    lint_module(tree, reader.tables, faults=reader.problems, warnings=warnings)
    if module is None or reader.problems.lines():
        raise Invalid(*reader.problems.lines())
    return module


def _lineage(file: _File, files: Mapping[str, _File]) -> list[_File]:
    """The file, its parent, and so on to the root.

    Raises Invalid when a parent is not there or a module extends itself.
    """
    line = [file]
    while line[-1].parent:
        parent = files.get(line[-1].parent)
        mark = _extends_mark(line[-1])
        if parent is None:
            hint = did_you_mean(line[-1].parent, tuple(files))
            raise Invalid(
                f"{mark}: the parent '{line[-1].parent}' is no module of the folder that can be read{hint}"
            )
        if parent in line:
            raise Invalid(f"{mark}: '{file.name}' extends itself")
        line.append(parent)
    return line


def _extends_mark(file: _File) -> Mark:
    found = file.tree.find("extends")
    return found.mark if found is not None else file.tree.mark
