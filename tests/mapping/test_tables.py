"""Code tables."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.loader import Problems
from gateway.mapping.table_files import read_csv_table
from gateway.mapping.tables import make_table


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


@pytest.mark.parametrize(
    ("day", "to"),
    [(date(2025, 12, 31), "old"), (date(2026, 1, 1), "new"), (date(2026, 6, 30), "new"), (date(2026, 7, 1), None),
     (None, None)],
)  # fmt: skip
def test_a_row_counts_on_its_days(day: date | None, to: str | None) -> None:
    problems = Problems()
    rows = b"from,to,valid_from,valid_to\nR1,old,,2025-12-31\nR1,new,2026-01-01,20260630\nR2,x\n"
    table = read_csv_table("t", rows, "t.csv", problems)
    assert problems.lines() == ()
    assert table.find("R1", day) == to
    assert table.find("R2", day) == "x"


def test_a_range_may_be_written_with_a_dash_and_stands_for_its_own_text_too() -> None:
    table = make_table("t", {"71000-71999": "span", "7*": "wild", "71500": "exact"})
    assert [table.find(key) for key in ("71500", "71501", "71000-71999", "8")] == [
        "exact",
        "wild",
        "span",
        None,
    ]
    assert make_table("t", {"71000-71999": "span"}).find("71999") == "span"
    assert make_table("t", {"9-1": "x"}).find("5") is None


def test_rows_that_repeat_hide_or_overlap_are_told_with_both_lines() -> None:
    problems = Problems()
    rows = (
        b"from,to,valid_from,valid_to\n100-200,a\nCT*,b\nCTA*,c\n150-160,d\n201-300,e\n"
        b"R,1,,2026-01-31\nR,2,2026-01-31,\nR,3,2027-01-01,2026-01-01\nS,1,soon,2026-02-30\n"
    )
    read_csv_table("t", rows, "t.csv", problems)
    assert problems.lines() == (
        "t.csv:4:1: 'CTA*' is never reached; see line 3",
        "t.csv:5:1: '150-160' overlaps '100-200'; see line 2",
        "t.csv:8:1: 'R' stands twice in the table; see line 7",
        "t.csv:9:1: valid_from is later than valid_to",
        "t.csv:10:1: a period is written as days, such as 2026-03-31",
    )


@given(
    st.dictionaries(st.text(alphabet="CT*?0123-.", max_size=6), st.just("x")),
    st.text(alphabet="CT0123-", max_size=5),
)
def test_any_table_answers_any_text(rows: dict[str, str], text: str) -> None:
    assert make_table("t", rows).find(text) in {"x", None}
