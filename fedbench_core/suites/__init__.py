"""Suites of experiments: suite files, missing runs, and filed records."""
