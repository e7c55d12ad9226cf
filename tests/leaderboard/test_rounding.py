import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.leaderboard.rounding import mean_text, round_significant, supported_decimals


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.53612, 0.0312, "0.54±0.03"),
        (0.53612, 0.0142, "0.536±0.014"),
        (0.53612, 0.00312, "0.536±0.003"),
        (0.5, 0.196, "0.50±0.20"),
        (0.5, 0.00001, "0.500"),  # zero in four decimals
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
def test_mean_has_the_decimals_that_its_interval_supports(mean, half, text) -> None:
    assert mean_text(mean, half) == text


def test_decimals_are_limited_on_request() -> None:
    assert mean_text(0.21972, 0.00172) == "0.2197±0.0017"
    assert mean_text(0.21972, 0.00172, 3) == "0.220±0.002"


@given(st.floats(1e-4, 1e5), st.floats(0, 1e6))
def test_rounded_mean_is_within_the_interval_and_the_interval_keeps_its_width(half, mean) -> None:
    text = mean_text(mean, half)
    if "±" not in text:
        assert round(half, 4) == 0
        return
    rounded_mean, rounded_half = map(float, text.split("±"))
    assert abs(rounded_mean - mean) <= half
    assert 0.7 * half <= rounded_half <= 1.4 * half or half < 2e-4


@given(st.floats(1e-4, 1e5))
def test_interval_has_a_second_digit_only_after_a_one(half) -> None:
    text = f"{half:.17e}"
    digits = supported_decimals(half) + int(text.split("e")[1]) + 1
    assert digits == (2 if text[0] == "1" else 1) or supported_decimals(half) == 4


@pytest.mark.parametrize(("value", "text"), [(0.012345, "0.0123"), (45.678, "45.7"), (100.4, "100"), (-2.5, "-2.50")])
def test_number_without_an_interval_has_three_digits(value, text) -> None:
    assert round_significant(value) == text
