"""What may be said of scores: pure functions over numbers, by way of scipy, statsmodels and scikit-posthocs."""

LEVEL = 0.05
"""How often a leaderboard of equals may name a difference at all: the family-wise error."""
TINY = 1e-9
"""Scores that differ by less are the same score, computed in another order."""
