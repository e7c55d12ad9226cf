"""Statistics of scores: intervals, paired tests, ranks and a bootstrap over images."""

LEVEL = 0.05
"""The family-wise error rate of the tests; intervals have the level 1 - LEVEL."""
TINY = 1e-9
"""Scores that differ by less are equal: the same numbers, added in another order."""
