"""Plots of records and leaderboards, in a palette for color-blind readers."""
