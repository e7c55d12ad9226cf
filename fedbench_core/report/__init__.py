"""The HTML report: leaderboards and runs as one self-contained file."""
