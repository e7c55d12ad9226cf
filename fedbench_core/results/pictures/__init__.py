"""Pictures of records and leaderboards, in colours that the colour-blind can tell apart."""
