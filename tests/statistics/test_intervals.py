import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedbench_core.statistics.intervals import Interval, defined_mean, mean_interval, mean_intervals

SCORES = st.floats(0, 1)
MAYBE = st.one_of(st.none(), st.just(math.nan), SCORES)


def test_interval_agrees_with_a_computation_by_hand() -> None:
    """The standard error is 0.1 / sqrt(3); Student's t with two degrees of freedom is 4.303."""
    found = mean_interval([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2 - 4.302653 * 0.0577350, 0.2 + 4.302653 * 0.0577350), abs=1e-6)
    assert (found.count, found.left_out) == (3, 0)


def test_undefined_values_count_neither_in_the_sum_nor_in_the_divisor() -> None:
    assert defined_mean([0.5, None, 0.7, math.nan]) == (pytest.approx(0.6), 2)
    assert mean_interval([0.5, None, 0.7, math.nan]) == Interval(
        *(pytest.approx(value) for value in (0.6, 0.6 - 1.27062, 0.6 + 1.27062)), count=2, left_out=2
    )


@pytest.mark.parametrize("values", [[], [None], [math.nan, None]])
def test_mean_without_values_is_nan(values) -> None:
    mean, left_out = defined_mean(values)
    assert math.isnan(mean)
    assert left_out == len(values)
    found = mean_interval(values)
    assert all(map(math.isnan, (found.mean, found.low, found.high)))
    assert (found.count, found.left_out) == (0, len(values))


def test_single_value_has_no_interval() -> None:
    found = mean_interval([0.7, None])
    assert found.mean == 0.7
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_equal_values_have_an_interval_of_zero_width() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3, 0)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20).filter(lambda values: len(set(values)) > 1))
def test_interval_is_that_of_scipy(values) -> None:
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@given(st.lists(st.tuples(MAYBE, MAYBE, SCORES), max_size=8))
def test_columns_have_the_intervals_that_they_have_alone(rows) -> None:
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    together = mean_intervals(table)
    alone = [mean_interval(table[:, column]) for column in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert vars(one) == pytest.approx(vars(other), nan_ok=True)
        assert one.mean == pytest.approx(defined_mean(table[:, alone.index(other)])[0], nan_ok=True)
