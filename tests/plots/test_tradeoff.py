import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.plots.tradeoff import Point, draw_tradeoff, pareto

points = st.lists(
    st.builds(
        Point,
        st.text("abc", min_size=1, max_size=3),
        st.integers(0, 5).map(float),
        st.integers(0, 5).map(lambda n: n / 5),
        st.none(),
        st.none(),
    ),
    min_size=1,
    max_size=8,
)


def dominates(one: Point, other: Point, sign: int) -> bool:
    """At least as good in both, and better in one."""
    no_worse = one.bytes <= other.bytes and sign * one.score >= sign * other.score
    return no_worse and (one.bytes < other.bytes or sign * one.score > sign * other.score)


@given(points, st.booleans())
def test_front_is_the_points_that_no_other_dominates(found, more) -> None:
    sign = 1 if more else -1
    front = pareto(found, more_is_better=more)
    assert sorted(map(repr, front)) == sorted(repr(p) for p in found if not any(dominates(q, p, sign) for q in found))


def test_reference_is_a_line_and_not_part_of_the_front(words) -> None:
    centralized = Point("centralized", 0.0, 0.99, None, None, reference=True)
    figure = draw_tradeoff([centralized, *MANY[:3]], "auc")
    assert words(figure).count("centralized") == 1
    dashed = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == "--"]
    assert max(max(line.get_ydata()) for line in dashed) == MANY[2].score


def test_front_goes_through_the_markers_of_entries_with_equal_bytes() -> None:
    level = [Point(f"level {n}", 1e6, 0.1 + n / 10, None, None) for n in range(3)]
    [axes] = draw_tradeoff(level, "auc").axes
    [front] = [line for line in axes.lines if line.get_linestyle() == "--"]
    markers = {
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() not in ("None", "")
    }
    assert set(zip(front.get_xdata(), front.get_ydata(), strict=True)) & markers


MANY = [Point(f"entry {n}", 10.0**n * 1000 if n else 0.0, n / 10, n / 10 - 0.05, n / 10 + 0.05) for n in range(8)]


@pytest.mark.parametrize("shown", [MANY, MANY[:1], MANY[1:2], MANY[:2], MANY[1:]])
def test_entries_are_named_once(shown, words) -> None:
    seen = words(draw_tradeoff(shown, "personalization"))
    assert all(seen.count(point.name) == 1 for point in shown)
    assert ("no communication" in " ".join(seen)) == (shown[0].bytes == 0)
    assert "personalization" in seen


def test_entries_with_equal_bytes_are_side_by_side() -> None:
    level = [Point(f"entry {n}", 2e6, 0.5, 0.4, 0.6) for n in range(3)]
    figure = draw_tradeoff([*level, Point("other", 1e6, 0.5, 0.4, 0.6)], "auc")
    left, middle, right, other = (line.get_xdata()[0] for line in figure.axes[0].lines[:4])
    assert (middle, other) == (2e6, 1e6)
    assert left < middle < right
    assert left * right == pytest.approx(middle**2)
    assert right < 1.1 * middle


def test_axis_has_units_of_bytes(words) -> None:
    seen = words(draw_tradeoff(MANY[2:6], "auc"))
    assert {"1 MB", "10 MB"} <= set(seen)
