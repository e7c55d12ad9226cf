"""Leaderboards: the records of a suite as ranked tables, with footnotes, figures and exports."""
