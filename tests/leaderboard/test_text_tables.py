from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.leaderboard.columns import metric
from fedbench_core.leaderboard.text_tables import TextTable, pair_table, split_to_width
from fedbench_core.statistics.pairs import compare

TABLE = TextTable(
    ["rank", "entry", "personalization ↑", "AUC ↑", "ECE ↓"],
    [["1", "fedavg", "0.796±0.017", "0.741±0.005", "0.220±0.002"], ["2–3", "local", "0.5", "–", "0"]],
    frozenset({"entry"}),
)


def test_table_that_fits_stays_whole() -> None:
    assert split_to_width(TABLE, 200) == [TABLE]


def test_table_that_is_too_wide_is_split_between_columns_and_each_part_names_its_rows() -> None:
    """4 for rank, 6 for entry, 15 for personalization, 11 for each of the others, and 3 after each column: 62."""
    assert len(split_to_width(TABLE, 62)) == 1
    assert [part.headings for part in split_to_width(TABLE, 61)] == [
        ["rank", "entry", "personalization ↑", "AUC ↑"],
        ["rank", "entry", "ECE ↓"],
    ]
    assert [part.rows[0] for part in split_to_width(TABLE, 10)] == [["1", "fedavg", cell] for cell in TABLE.rows[0][2:]]


@given(st.integers(1, 100))
def test_column_of_numbers_is_in_exactly_one_part(width) -> None:
    parts = split_to_width(TABLE, width)
    assert [heading for part in parts for heading in part.headings[2:]] == TABLE.headings[2:]
    assert all(len(row) == len(part.headings) for part in parts for row in part.rows)


def test_difference_that_is_the_same_for_all_seeds_is_shown() -> None:
    rows = [SimpleNamespace(entry=name) for name in ("a", "b")]
    table = SimpleNamespace(rows=rows, ranked_by=metric("auc"))
    pairs = compare({"a": {0: 0.5, 1: 0.5}, "b": {0: 0.75, 1: 0.75}})
    assert pair_table(table, pairs).rows == [["b", "a", "0.2500", "0.2500 to 0.2500", "1"]]
