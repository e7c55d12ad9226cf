"""Leaderboards: filed records of a suite, ranked, with what was compared and what may be claimed."""
