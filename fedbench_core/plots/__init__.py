"""Pictures of records and leaderboards, in colors that the color-blind can tell apart."""
