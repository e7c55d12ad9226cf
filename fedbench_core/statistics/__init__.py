"""Statistics of scores: intervals, paired tests, ranks and a bootstrap over images."""

LEVEL = 0.05
"""The family-wise error rate of the tests; intervals have the level 1 - LEVEL."""
PLANNED = 0.8
"""The share of the planned pairs in the level of the tests, if there are other pairs."""
TINY = 1e-9
"""Scores that differ by less are equal: the same numbers, added in another order."""
