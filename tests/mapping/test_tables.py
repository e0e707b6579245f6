"""Code tables."""

import pytest

from gateway.mapping.loader import Problems
from gateway.mapping.tables import make_table, read_csv_table


@pytest.mark.parametrize(
    ("text", "to"),
    [("A", "1"), (" A ", "1"), ("CT7", "ct"), ("70450", "head"), ("70010", "span"), ("76499", "span"),
     ("76500", None), ("X5", "x"), ("X10", None), ("Y5", None), ("U", ""), ("a", None), ("", None), ("704501", None)],
)  # fmt: skip
def test_an_exact_key_wins_then_wildcards_and_ranges(text: str, to: str | None) -> None:
    rows = {"A": "1", "CT?": "ct", "70450": "head", "70010..76499": "span", "X1..X9": "x", "U": ""}
    assert make_table("t", rows).find(text) == to


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_spreadsheet_s_csv_is_read(separator: str) -> None:
    problems = Problems()
    rows = f'\ufefffrom{separator}to\r\nA{separator}1\r\n\r\n"B, b"{separator} 2 \r\n'
    table = read_csv_table("t", rows.encode(), "t.csv", problems)
    assert problems.lines() == ()
    assert (table.find("A"), table.find("B, b")) == ("1", "2")


def test_all_faults_of_a_csv_file_are_told() -> None:
    problems = Problems()
    read_csv_table("t", b"key,value\nA,1\nA,2\n,3\nB\n", "t.csv", problems)
    assert [line.partition(": ")[0] for line in problems.lines()] == [
        "t.csv:1:1",
        "t.csv:3:1",
        "t.csv:4:1",
        "t.csv:5:1",
    ]


def test_a_table_that_is_not_utf8_is_told() -> None:
    problems = Problems()
    read_csv_table("t", "from,to\nä,1\n".encode("latin-1"), "t.csv", problems)
    assert problems.lines() == ("t.csv:1:1: the table is not UTF-8; save it as 'CSV UTF-8'",)
