from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.leaderboard.sheets import Sheet, fitted

SHEET = Sheet(
    ["rank", "entry", "personalization ↑", "AUC ↑", "ECE ↓"],
    [["1", "fedavg", "0.796±0.017", "0.741±0.005", "0.220±0.002"], ["2–3", "local", "0.5", "–", "0"]],
    frozenset({"entry"}),
)


def test_what_fits_stays_whole() -> None:
    assert fitted(SHEET, 200) == [SHEET]


def test_what_does_not_fit_is_cut_between_columns_and_each_part_names_its_rows() -> None:
    """4 for rank, 6 for entry, 15 for personalization, 11 and 11 for the others, and 3 behind each: 62."""
    assert len(fitted(SHEET, 62)) == 1
    assert [part.headings for part in fitted(SHEET, 61)] == [
        ["rank", "entry", "personalization ↑", "AUC ↑"],
        ["rank", "entry", "ECE ↓"],
    ]
    assert [part.rows[0] for part in fitted(SHEET, 10)] == [
        ["1", "fedavg", grid_point] for grid_point in SHEET.rows[0][2:]
    ]


@given(st.integers(1, 100))
def test_every_column_is_shown_once(room) -> None:
    parts = fitted(SHEET, room)
    assert [heading for part in parts for heading in part.headings[2:]] == SHEET.headings[2:]
    assert all(len(row) == len(part.headings) for part in parts for row in part.rows)
