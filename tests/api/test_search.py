"""Search ranges of settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api.search import LogUniform, OneOf, range_in


def test_log_uniform_range_is_even_in_the_logarithm() -> None:
    assert [LogUniform(0.001, 10).at(fraction) for fraction in (0, 0.25, 0.5, 1)] == [0.001, 0.01, 0.1, 10]
    assert LogUniform(1, 2).at(0.5) == 1.41


@given(st.floats(1e-6, 1e6), st.floats(1.001, 1e6), st.floats(0, 1))
def test_log_uniform_value_lies_in_the_range(low, factor, fraction) -> None:
    assert low <= LogUniform(low, low * factor).at(fraction) <= low * factor


def test_values_of_a_list_are_equally_likely() -> None:
    assert [OneOf(("a", "b", "c")).at(fraction) for fraction in (0, 0.3, 0.34, 0.67, 1)] == ["a", "a", "b", "c", "c"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (1, 1), (2, 1), (1, float("inf"))])
def test_range_without_numbers_is_refused(low, high) -> None:
    with pytest.raises(ValueError, match=r"low < high"):
        LogUniform(low, high)


def test_range_is_found_among_other_annotations() -> None:
    with pytest.raises(ValueError, match="two values"):
        OneOf((1,))
    assert range_in(("text", OneOf((1, 2)))) == OneOf((1, 2))
    assert range_in(("text",)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.001, True),
        (0.0019, True),
        (0.0021, False),
        (0.03, False),
        (0.49, False),
        (0.51, True),
        (2.0, True),
        (0, True),
    ],
)
def test_outer_tenths_of_the_logarithm_are_the_edge(value, expected) -> None:
    assert LogUniform(0.001, 1).at_edge(value) == expected


def test_ends_of_a_list_of_numbers_are_its_edge() -> None:
    ordered = OneOf((1, 10, 3))
    assert [ordered.at_edge(value) for value in (0.5, 1, 3, 10, 11)] == [True, True, False, True, True]
    assert not OneOf((1, 10)).at_edge(1)
    assert not OneOf((True, False, None)).at_edge(True)
    assert not OneOf(("a", "b", "c")).at_edge("a")
