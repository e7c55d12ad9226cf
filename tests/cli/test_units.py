"""Quantities with units, as text."""

import pytest

from fedbench_core.cli.units import bytes_text, seconds_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (999_400, "999 kB"), (999_600, "1 MB"), (12_340_000, "12.3 MB"), (2e15, "2e+03 TB")],
)
def test_bytes_have_three_digits_and_the_unit_that_suits_them(count, text) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(8.31, "8.3 s"), (59.97, "1 min 0 s"), (250.2, "4 min 10 s")])
def test_duration_has_at_most_sixty_seconds(seconds, text) -> None:
    assert seconds_text(seconds) == text
