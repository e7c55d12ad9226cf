import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.leaderboard.digits import decimals, measured, significant


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.53612, 0.0312, "0.54±0.03"),
        (0.53612, 0.0142, "0.536±0.014"),
        (0.53612, 0.00312, "0.536±0.003"),
        (0.5, 0.196, "0.50±0.20"),
        (0.5, 0.00001, "0.500"),  # no width that four decimals show
        (0.5, None, "0.500"),
        (44.7415, 0.0, "44.7"),
        (10079.09, 140.0, "10080±140"),
        (10079.09, 3400.0, "10000±3000"),
        (10079.09, None, "10079"),
        (0.0, 0.0, "0"),
        (None, None, "–"),
        (None, 0.1, "–"),
    ],
)
def test_golden(mean, half, text) -> None:
    assert measured(mean, half) == text


def test_fewer_decimals_where_that_is_asked() -> None:
    assert measured(0.21972, 0.00172) == "0.2197±0.0017"
    assert measured(0.21972, 0.00172, 3) == "0.220±0.002"


@given(st.floats(1e-4, 1e5), st.floats(0, 1e6))
def test_what_is_written_is_within_the_interval_and_the_interval_is_not_shrunk_to_nothing(half, mean) -> None:
    text = measured(mean, half)
    if "±" not in text:
        assert round(half, 4) == 0
        return
    shown, reach = map(float, text.split("±"))
    assert abs(shown - mean) <= half
    assert 0.7 * half <= reach <= 1.4 * half or half < 2e-4


@given(st.floats(1e-4, 1e5))
def test_two_digits_of_the_interval_only_behind_a_one(half) -> None:
    text = f"{half:.17e}"
    digits = decimals(half) + int(text.split("e")[1]) + 1
    assert digits == (2 if text[0] == "1" else 1) or decimals(half) == 4


@pytest.mark.parametrize(("value", "text"), [(0.012345, "0.0123"), (45.678, "45.7"), (100.4, "100"), (-2.5, "-2.50")])
def test_three_digits(value, text) -> None:
    assert significant(value) == text
