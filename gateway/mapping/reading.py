"""A module's tree read into a Module: every key checked, every fault noted with its file, line and column."""

import re
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from gateway.mapping.fhir_paths import ORDERS, FhirPath, compile_fhirpath
from gateway.mapping.groups import GROUPS
from gateway.mapping.language import SEVERITIES, Language, as_entries, as_text
from gateway.mapping.loader import Entries, Entry, Items, Problems, Text, Tree
from gateway.mapping.module import ActionSpec, Module, ResourceSpec, Rule, Source
from gateway.mapping.paths import compile_hl7, compile_relative
from gateway.mapping.reading_examples import OpenFile, read_examples
from gateway.mapping.reading_fields import read_fields
from gateway.mapping.scope import ITEM, Path
from gateway.mapping.table_files import read_csv_table
from gateway.mapping.tables import Table, make_table
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.shape import Setting, Transform
from gateway.model.errors import Invalid
from gateway.model.order import Action, ModuleRef, Severity

MODULE_KEYS = (
    "mapping", "extends", "about", "source", "fhir_version", "match", "site", "each", "resources", "skip", "hold",
    "action", "tables", "fields", "examples",
)  # fmt: skip
EACH = {Source.HL7V2: tuple(GROUPS), Source.FHIR: ORDERS}
"""What a module may map, the usual first."""

ACTIONS = {str(action): action for action in Action}
UNMAPPED_ACTIONS: Mapping[str, Action | Severity] = {
    **ACTIONS,
    "hold": Severity.HOLD,
    "reject": Severity.REJECT,
}
TABLE_ACTIONS: Mapping[str, Action | None] = {**ACTIONS, "unmapped": None}
"""What a row of the action's table may say; `unmapped`: what is done with anything that has no row."""

_HOLDER = re.compile(r"%(\w+)\.")


class ModuleReader:
    """Reads one module; its faults are in `problems`."""

    def __init__(
        self,
        tree: Entries,
        *,
        site: Mapping[str, str],
        open_file: OpenFile,
        transforms: Mapping[str, Transform] = TRANSFORMS,
    ) -> None:
        self.problems = Problems()
        self._transforms = transforms
        self._tree = tree
        self._open = open_file
        self._source = Source.HL7V2
        self._site = self._read_site(site)
        self._resource_names = self._names_of_resources()

    def module(self, version: Callable[[], str]) -> Module | None:
        """The module; None when anything is wrong with it. `version` is asked when all its files were read."""
        tree = self._tree
        name = self._text_of("mapping")
        if not name:
            self.problems.add(tree.mark, "the key 'mapping' (the module's name) is missing")
        self._source = self._read_source()
        tables = self.tables = self._read_tables()
        language = Language(self.problems, self._setting(tables), self._transforms)
        language.known_keys(tree, MODULE_KEYS, "a mapping module")
        self._check_each()
        match = tree.find("match")
        action = self._read_action(language)
        module = Module(
            ref=ModuleRef(name=name, version=version()),
            about=self._text_of("about"),
            source=self._source,
            match=language.condition(match) if match is not None else None,
            each=self._text_of("each") or EACH[self._source][0],
            site=self._site,
            resources=self._read_resources(language),
            skip=self._read_rules("skip", language),
            hold=self._read_rules("hold", language),
            action=action,
            fields=read_fields(self._entries_of("fields"), language),
            examples=read_examples(self._items_of("examples"), self._open, self.problems),
            mark=tree.mark,
            parent=self._text_of("extends"),
        )
        return None if self.problems.lines() else module

    def _text_of(self, key: str) -> str:
        tree = self._tree.find(key)
        text = as_text(tree, key, self.problems) if tree is not None else None
        return (text.text or "") if text else ""

    def _entries_of(self, key: str) -> tuple[Entry, ...]:
        tree = self._tree.find(key)
        entries = as_entries(tree, key, self.problems) if tree is not None else None
        return entries.entries if entries else ()

    def _items_of(self, key: str) -> tuple[Tree, ...]:
        tree = self._tree.find(key)
        if tree is None or isinstance(tree, Items):
            return tree.items if tree else ()
        self.problems.add(tree.mark, f"{key} is a list")
        return ()

    def _read_site(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """The settings' values under the module's own; an empty own value leaves the settings' standing."""
        site = dict(defaults)
        for entry in self._entries_of("site"):
            text = as_text(entry.value, f"the site value {entry.key}", self.problems)
            if text and (text.text or entry.key not in site):
                site[entry.key] = text.text or ""
        return site

    def _names_of_resources(self) -> frozenset[str]:
        return frozenset(entry.key for entry in self._entries_of("resources"))

    def _read_source(self) -> Source:
        text = self._text_of("source")
        if text in set(Source):
            return Source(text)
        tree = self._tree.find("source")
        mark = tree.mark if tree is not None else self._tree.mark
        self.problems.add(mark, f"source is one of {', '.join(Source)}")
        return Source.HL7V2

    def _check_each(self) -> None:
        each, tree = self._text_of("each"), self._tree.find("each")
        if tree is not None and each not in EACH[self._source]:
            known = " or ".join(EACH[self._source])
            self.problems.add(tree.mark, f"each is {known} in a module for {self._source}")

    def _setting(self, tables: Mapping[str, Table]) -> Setting:
        zone = ZoneInfo("UTC")
        name = self._site.get("timezone") or "UTC"
        try:
            zone = ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            tree = self._tree.find("site")
            self.problems.add(tree.mark if tree is not None else self._tree.mark, f"'{name}' is no time zone")
        return Setting(zone=zone, site=self._site, tables=tables, compile_path=self._compile)

    def _compile(self, text: str) -> Path:
        if self._source is Source.HL7V2:
            return compile_relative(text) if text.startswith(".") else compile_hl7(text, self._site)
        known = frozenset(self._site) | self._resource_names | {ITEM}
        return compile_fhirpath(text, known, self._text_of("fhir_version"))

    def _read_tables(self) -> dict[str, Table]:
        tables = {}
        for entry in self._entries_of("tables"):
            if isinstance(entry.value, Entries):
                rows = (as_text(row.value, row.key, self.problems) for row in entry.value)
                pairs = zip(entry.value, rows, strict=True)
                tables[entry.key] = make_table(
                    entry.key, {row.key: text.text or "" for row, text in pairs if text}
                )
            elif text := as_text(
                entry.value, "a table (a mapping, or the name of a CSV file)", self.problems
            ):
                tables[entry.key] = self._csv(entry.key, text)
        return tables

    def _csv(self, name: str, text: Text) -> Table:
        try:
            return read_csv_table(name, self._open(text.text or ""), text.text or "", self.problems)
        except Invalid as fault:
            self.problems.add(text.mark, str(fault))
            return make_table(name, {})

    def _read_resources(self, language: Language) -> tuple[ResourceSpec, ...]:
        entries = self._entries_of("resources")
        if entries and self._source is not Source.FHIR:
            self.problems.add(entries[0].mark, "resources are for source: fhir")
            return ()
        specs = (self._resource(entry, language) for entry in entries)
        return tuple(spec for spec in specs if spec)

    def _resource(self, entry: Entry, language: Language) -> ResourceSpec | None:
        entries = as_entries(entry.value, f"the resource {entry.key}", self.problems)
        if entries is None:
            return None
        language.known_keys(entries, ("reference", "required"), "a resource")
        tree = entries.find("reference")
        text = as_text(tree, "reference", self.problems) if tree is not None else None
        path = language.path(text.text or "", text.mark) if text else None
        if not text:
            self.problems.add(entries.mark, "a resource names its reference, such as 'subject'")
        if not isinstance(path, FhirPath):
            return None
        held = _HOLDER.match(path.text)
        holder = held[1] if held else ""
        required = language.choice(entries.find("required"), "required", SEVERITIES, None)
        return ResourceSpec(name=entry.key, reference=path, holder=holder, required=required, mark=entry.mark)

    def _read_rules(self, key: str, language: Language) -> tuple[Rule, ...]:
        rules = []
        for tree in self._items_of(key):
            entries = as_entries(tree, f"an entry of {key}", self.problems)
            if entries is None:
                continue
            language.known_keys(entries, ("when", "because"), key)
            when, because = entries.find("when"), entries.find("because")
            if when is None or not isinstance(because, Text) or not because.text:
                self.problems.add(entries.mark, f"an entry of {key} has 'when' and 'because'")
            elif condition := language.condition(when):
                rules.append(Rule(when=condition, because=because.text, mark=entries.mark))
        return tuple(rules)

    def _read_action(self, language: Language) -> ActionSpec:
        tree = self._tree.find("action")
        none = Entries(entries=(), mark=self._tree.mark)
        if tree is None:
            self.problems.add(self._tree.mark, "the key 'action' is missing")
        entries = (as_entries(tree, "action", self.problems) if tree is not None else None) or none
        language.known_keys(entries, ("from", "pair", "table", "unmapped", "do"), "action")
        alternatives = language.alternatives(entries.find("from"), language.steps(entries.find("do")))
        if entries is not none and not alternatives:
            self.problems.add(entries.mark, "action needs 'from'")
        pair = entries.find("pair")
        said = as_text(pair, "pair", self.problems) if pair is not None else None
        table = self._action_table(entries.find("table"), language)
        return ActionSpec(
            alternatives=alternatives,
            pair=language.path(said.text or "", said.mark) if said else None,
            table=table,
            folded={key.casefold(): action for key, action in table.items()},
            unmapped=language.choice(entries.find("unmapped"), "unmapped", UNMAPPED_ACTIONS, Severity.HOLD),
            mark=entries.mark,
        )

    def _action_table(self, tree: Tree | None, language: Language) -> dict[str, Action | None]:
        entries = as_entries(tree, "the table of action", self.problems) if tree is not None else None
        if tree is None:
            return {}
        return {
            entry.key: language.choice(entry.value, f"the action for {entry.key}", TABLE_ACTIONS, Action.HOLD)
            for entry in entries or ()
        }
