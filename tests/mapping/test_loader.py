"""YAML as text with its places; tricks and duplicates refused, all faults together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.loader import MAX_BYTES, Entries, Items, Mark, Text, did_you_mean, read_yaml
from gateway.model.errors import Invalid


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(Invalid) as caught:
        read_yaml(text.encode(), "x.yaml")
    return caught.value.faults


def test_every_scalar_stays_the_text_that_was_written() -> None:
    tree = read_yaml(b"a: NO\nb: 0123\nc: 12:30\nd: 2026-03-15\ne: 1.0\nf: true\n", "x.yaml")
    texts = [entry.value.text for entry in tree if isinstance(entry.value, Text)]
    assert texts == ["NO", "0123", "12:30", "2026-03-15", "1.0", "true"]


def test_null_is_only_what_is_plain_and_empty() -> None:
    tree = read_yaml(b"a:\nb: ~\nc: null\nd: ''\ne: 'null'\n", "x.yaml")
    texts = [entry.value.text for entry in tree if isinstance(entry.value, Text)]
    assert texts == [None, None, None, "", "null"]


def test_every_node_knows_its_line_and_column() -> None:
    tree = read_yaml(b"a:\n  - x\n  - {b: y}\n", "x.yaml")
    items = tree.find("a")
    assert isinstance(items, Items)
    assert items.items[0].mark == Mark(file="x.yaml", line=2, column=5)
    inner = items.items[1]
    assert isinstance(inner, Entries)
    assert str(inner.entries[0].value.mark) == "x.yaml:3:9"


def test_a_key_that_stands_twice_is_told_with_both_lines() -> None:
    assert faults_of("a: 1\nb: 2\na: 3\n") == ("x.yaml:3:1: the key 'a' stands already in line 1",)


def test_anchors_aliases_and_tags_are_refused_together() -> None:
    faults = faults_of("a: &x 1\nb: *x\nc: !!python/name:os.system\n")
    assert [fault.partition(": ")[0] for fault in faults] == ["x.yaml:1:4", "x.yaml:2:4", "x.yaml:3:4"]


def test_broken_yaml_is_told_with_its_place() -> None:
    assert faults_of("a: [1, 2\nb: 3\n")[0].startswith("x.yaml:2:")


def test_what_is_no_mapping_is_refused() -> None:
    assert faults_of("- a\n")[0].startswith("x.yaml:1:1: a mapping module is")
    assert faults_of("")[0].startswith("x.yaml:1:1: a mapping module is")
    assert "a second one" in faults_of("a: 1\n---\nb: 2\n")[0]


def test_a_file_that_is_too_long_or_deep_is_refused() -> None:
    assert "longer than" in faults_of("a: " + "x" * MAX_BYTES)[0]
    assert "deeper than" in faults_of("a: " + "[" * 500 + "]" * 500)[0]


def test_a_word_close_to_a_known_one_is_suggested() -> None:
    assert did_you_mean("requird", ("required", "from")) == "; did you mean 'required'?"
    assert did_you_mean("zzz", ("required", "from")) == ""


@given(
    st.one_of(
        st.binary(max_size=60), st.text(alphabet="ab:-[]{}&*!'\"| \n#?,%@`~", max_size=60).map(str.encode)
    )
)
def test_any_file_is_a_tree_or_invalid(content: bytes) -> None:
    try:
        assert isinstance(read_yaml(content, "x.yaml"), Entries)
    except Invalid as fault:
        lines = fault.faults
    else:
        lines = ()
    assert all(line.startswith("x.yaml:") for line in lines)
