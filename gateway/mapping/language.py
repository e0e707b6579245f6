"""The parts of a module that occur in many places: texts, paths, conditions, steps, alternatives.

Every reader notes what is wrong with `Problems` and goes on, so that all faults of a file are told together.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import TypeVar

from gateway.mapping.conditions import AllOf, AnyOf, Condition, Empty, Equals, Not
from gateway.mapping.loader import Entries, Entry, Items, Mark, Problems, Text, Tree, did_you_mean
from gateway.mapping.module import Alternative
from gateway.mapping.scope import ITEM, Data, Path, Run, Unfit, text_of
from gateway.mapping.tables import Table, make_table
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.dates import day_of
from gateway.mapping.transforms.shape import Parameter, Setting, Step, Transform
from gateway.model.order import Severity, UnknownCode

ALTERNATIVE_KEYS = ("from", "value", "do", "table", "unmapped", "when")
MAX_DIGITS = 5
_ITEM = re.compile(rf"%{ITEM}\b")
SEVERITIES = {str(severity): severity for severity in Severity}

Known = TypeVar("Known")


class Language:
    """Reads trees into compiled parts, in the setting of one module."""

    def __init__(
        self,
        problems: Problems,
        setting: Setting,
        transforms: Mapping[str, Transform] = TRANSFORMS,
        *,
        is_inside_item: bool = False,
    ) -> None:
        self.problems = problems
        self.setting = setting
        self._transforms = transforms
        self._is_inside_item = is_inside_item
        self._paths: dict[str, Path | str] = {}

    def inside_item(self) -> "Language":
        """The language where an item is built: paths may begin at what the item is made from."""
        return Language(self.problems, self.setting, self._transforms, is_inside_item=True)

    def path(self, text: str, mark: Mark) -> Path | None:
        """The compiled path, each text once; None with a fault noted when it is none."""
        if not self._is_inside_item and (text.startswith(".") or _ITEM.search(text)):
            self.problems.add(mark, f"'{text}' begins at an item; it belongs inside 'item' below 'each'")
            return None
        if text not in self._paths:
            try:
                self._paths[text] = self.setting.compile_path(text)
            except ValueError as fault:
                self._paths[text] = str(fault)
        path = self._paths[text]
        if isinstance(path, str):
            self.problems.add(mark, path)
            return None
        return path

    def condition(self, tree: Tree) -> Condition | None:
        """A `when` or `match`; None with a fault noted when it is none."""
        entries = as_entries(tree, "a condition", self.problems)
        if entries is None:
            return None
        if not entries.entries:
            self.problems.add(entries.mark, "a condition without entries always holds; leave it out")
        parts = [self._part(entry) for entry in entries]
        known = tuple(part for part in parts if part is not None)
        return AllOf(conditions=known) if len(known) == len(parts) else None

    def _part(self, entry: Entry) -> Condition | None:
        if entry.key == "empty":
            texts = as_texts(entry.value, "empty", self.problems)
            paths = [self.path(text.text or "", text.mark) for text in texts]
            found = tuple(path for path in paths if path)
            return Empty(paths=found) if found else None
        if entry.key == "not":
            inner = self.condition(entry.value)
            return Not(condition=inner) if inner else None
        if entry.key == "any":
            trees = entry.value.items if isinstance(entry.value, Items) else (entry.value,)
            inners = [self.condition(tree) for tree in trees]
            return AnyOf(conditions=tuple(inner for inner in inners if inner))
        path = self.path("resourceType" if entry.key == "resource" else entry.key, entry.mark)
        values = [self._site(text) for text in as_texts(entry.value, entry.key, self.problems)]
        return Equals(path=path, values=frozenset(values)) if path else None

    def _site(self, text: Text) -> str:
        """A compared text; `$name` stands for a site value."""
        written = text.text or ""
        if not written.startswith("$"):
            return written
        if written[1:] not in self.setting.site:
            self.problems.add(text.mark, f"'{written}' is no site value of this module")
        return self.setting.site.get(written[1:], "")

    def steps(self, tree: Tree | None) -> tuple[Step, ...]:
        """The steps of a `do`: a name, a mapping of one name to its arguments, or a list of these."""
        if tree is None:
            return ()
        trees = tree.items if isinstance(tree, Items) else (tree,)
        steps = (self._step(item) for item in trees)
        return tuple(step for step in steps if step)

    def _step(self, tree: Tree) -> Step | None:
        if isinstance(tree, Text) and tree.text:
            return self._built(tree.text, tree.mark, {}, "")
        if not isinstance(tree, Entries) or len(tree.entries) != 1:
            self.problems.add(tree.mark, "a step is a transform's name, or one name with its arguments")
            return None
        entry = tree.entries[0]
        transform = self._transforms.get(entry.key)
        if isinstance(entry.value, Text):
            first = transform.parameters[0].name if transform and transform.parameters else ""
            if transform and not first:
                self.problems.add(entry.value.mark, f"{entry.key} takes no argument")
            return self._built(entry.key, entry.mark, {first: entry.value}, entry.value.text or "")
        entries = as_entries(entry.value, f"the arguments of {entry.key}", self.problems)
        given = {e.key: e.value for e in entries or ()}
        return self._built(entry.key, entry.mark, given, "")

    def _built(self, name: str, mark: Mark, given: Mapping[str, Tree], shown: str) -> Step | None:
        transform = self._transforms.get(name)
        if transform is None:
            hint = did_you_mean(name, tuple(self._transforms))
            self.problems.add(mark, f"'{name}' is no transform{hint}")
            return None
        arguments = self._arguments(transform, mark, given)
        if arguments is None:
            return None
        try:
            apply = transform.make(arguments, self.setting)
        except ValueError as fault:
            self.problems.add(mark, f"{name}: {fault}")
            return None
        return Step(label=f"{name} {shown}".rstrip(), apply=apply)

    def _arguments(
        self, transform: Transform, mark: Mark, given: Mapping[str, Tree]
    ) -> dict[str, str] | None:
        known = {parameter.name: parameter for parameter in transform.parameters}
        for name in given.keys() - known.keys():
            hint = did_you_mean(name, tuple(known))
            self.problems.add(given[name].mark, f"{transform.name} has no argument '{name}'{hint}")
        values: dict[str, str] = {}
        for name, parameter in known.items():
            value = self._argument(transform.name, parameter, mark, given.get(name))
            if value is not None:
                values[name] = value
        return values if values.keys() == known.keys() and given.keys() <= known.keys() else None

    def _argument(self, transform: str, parameter: Parameter, mark: Mark, tree: Tree | None) -> str | None:
        if tree is None:
            if parameter.default is None:
                self.problems.add(mark, f"{transform} needs the argument '{parameter.name}'")
            return parameter.default
        if not isinstance(tree, Text):
            self.problems.add(tree.mark, f"the argument '{parameter.name}' of {transform} is a text")
            return None
        text = tree.text or ""
        if parameter.is_number and not is_number(text):
            self.problems.add(tree.mark, f"the argument '{parameter.name}' of {transform} is a whole number")
            return None
        if parameter.choices and text not in parameter.choices:
            choices = " or ".join(parameter.choices)
            self.problems.add(tree.mark, f"the argument '{parameter.name}' of {transform} is {choices}")
            return None
        return text

    def lookup(self, entries: Entries, unmapped: str) -> tuple[Step, ...]:
        """The step of `table` and `unmapped`; `unmapped` is what counts when the module does not say."""
        tree, policy = entries.find("table"), entries.find("unmapped")
        if tree is None:
            if policy is not None:
                self.problems.add(
                    policy.mark, "unmapped says what a table does not know, but there is no table"
                )
            return ()
        if isinstance(tree, Entries):
            rows = {e.key: text.text or "" for e in tree if (text := as_text(e.value, e.key, self.problems))}
            table: Table | None = make_table("of the field", rows)
        else:
            text = as_text(tree, "table", self.problems)
            name = text.text if text and text.text else ""
            table = self.setting.tables.get(name)
            if text and table is None:
                hint = did_you_mean(name, tuple(self.setting.tables))
                self.problems.add(text.mark, f"'{name}' is no table of this module{hint}")
        said = as_text(policy, "unmapped", self.problems) if policy is not None else None
        return (_table_step(table, said.text or "" if said else unmapped),) if table else ()

    def alternatives(self, tree: Tree | None, after: tuple[Step, ...]) -> tuple[Alternative, ...]:
        """The alternatives of a `from`, each followed by the steps `after`."""
        if tree is None:
            return ()
        trees = tree.items if isinstance(tree, Items) else (tree,)
        found = (self._alternative(item, after) for item in trees)
        return tuple(alternative for alternative in found if alternative)

    def _alternative(self, tree: Tree, after: tuple[Step, ...]) -> Alternative | None:
        if isinstance(tree, Text) and tree.text:
            path = self.path(tree.text, tree.mark)
            return _alternative(path=path, label=tree.text, steps=after, mark=tree.mark) if path else None
        entries = as_entries(tree, "an alternative of from", self.problems)
        if entries is None:
            return None
        self.known_keys(entries, ALTERNATIVE_KEYS, "an alternative")
        origin, value = entries.find("from"), entries.find("value")
        if (origin is None) == (value is None):
            self.problems.add(entries.mark, "an alternative has either from (one path) or value")
            return None
        when = entries.find("when")
        condition = self.condition(when) if when is not None else None
        steps = (*self.steps(entries.find("do")), *self.lookup(entries, "next"), *after)
        said = as_text(origin or value or tree, "an alternative", self.problems)
        if said is None or not said.text:
            return None
        path = self.path(said.text, said.mark) if origin is not None else None
        if origin is not None and path is None:
            return None
        fixed = "" if path else said.text
        return _alternative(
            path=path, label=said.text, value=fixed, when=condition, steps=steps, mark=said.mark
        )

    def known_keys(self, entries: Entries, known: Iterable[str], what: str) -> None:
        """Note every key that is not among `known`."""
        note_unknown_keys(entries, known, what, self.problems)

    def choice(self, tree: Tree | None, what: str, choices: Mapping[str, Known], default: Known) -> Known:
        """The choice that a text names."""
        text = as_text(tree, what, self.problems) if tree is not None else None
        if text is None:
            return default
        if text.text not in choices:
            hint = did_you_mean(text.text or "", tuple(choices))
            self.problems.add(text.mark, f"{what} is one of {', '.join(choices)}{hint}")
        return choices.get(text.text or "", default)


def note_unknown_keys(entries: Entries, known: Iterable[str], what: str, problems: Problems) -> None:
    """Note every key that is not among `known`, with the nearest one that is."""
    names = tuple(known)
    for entry in entries:
        if entry.key not in names:
            problems.add(entry.mark, f"'{entry.key}' is no key of {what}{did_you_mean(entry.key, names)}")


def as_text(tree: Tree, what: str, problems: Problems) -> Text | None:
    """The scalar; None with a fault noted when it is a list or a mapping."""
    if isinstance(tree, Text):
        return tree
    problems.add(tree.mark, f"{what} is a text")
    return None


def as_texts(tree: Tree, what: str, problems: Problems) -> tuple[Text, ...]:
    """One scalar or a list of them."""
    trees = tree.items if isinstance(tree, Items) else (tree,)
    texts = (as_text(item, what, problems) for item in trees)
    return tuple(text for text in texts if text)


def as_entries(tree: Tree, what: str, problems: Problems) -> Entries | None:
    """The mapping; None with a fault noted when it is something else."""
    if isinstance(tree, Entries):
        return tree
    problems.add(tree.mark, f"{what} is a mapping of keys to values")
    return None


def is_number(text: str) -> bool:
    """Whether `text` is a whole number of a size that makes sense in a module."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS


def _alternative(
    *,
    path: Path | None,
    label: str,
    steps: tuple[Step, ...],
    mark: Mark,
    value: str = "",
    when: Condition | None = None,
) -> Alternative:
    return Alternative(
        label=label,
        path=path,
        value=value,
        when=when,
        steps=steps,
        labels=tuple(step.label for step in steps),
        mark=mark,
    )


def _table_step(table: Table, unmapped: str) -> Step:
    """Looks every text up; what the table does not know is treated as `unmapped` says."""

    def apply(data: Data, run: Run) -> Data:
        day = day_of(run) if table.is_dated else None
        made = [look_up(text_of(datum), day, run) for datum in data]
        return tuple([text for text in made if text])

    def look_up(text: str, day: date | None, run: Run) -> str:
        to = table.find(text, day) if text.strip() else ""
        if to is not None:
            return to
        if is_worry:
            run.unknown.append(UnknownCode(table=table.name, code=text.strip()))
        return missing(text)

    missing = _policy(table, unmapped)
    is_worry = unmapped == "next" or unmapped in SEVERITIES  # else the module says what any other code means
    return Step(label=f"table {table.name}", apply=apply)


def _policy(table: Table, unmapped: str) -> Callable[[str], str]:
    """What becomes of a text that the table does not know."""
    if unmapped in SEVERITIES:

        def refuse(text: str) -> str:
            raise Unfit(f"is not in table {table.name}", code="103", severity=SEVERITIES[unmapped])

        return refuse
    if unmapped == "pass":
        return lambda text: text
    return lambda text: "" if unmapped == "next" else unmapped
