"""Records of runs: contents, digest, comparison, and run folders."""
