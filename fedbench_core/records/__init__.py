"""What comes out of runs: their records."""
