"""The pytest plugin of fedbench: failed assertions of the contract suites show values, as those of a test do."""

import pytest

# By name: pytest loads this module in every run of the environment, and the suites import torch.
_SUITES = (
    "aggregator",
    "backbone",
    "compressor",
    "contract",
    "dataset",
    "examples",
    "inputs",
    "local_update",
    "method",
    "partitioner",
    "small",
    "topology",
    "tracker",
)

pytest.register_assert_rewrite(*(f"fedbench_core.testing.{suite}" for suite in _SUITES))


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of the cases that start processes; `-m "not slow"` leaves them out."""
    config.addinivalue_line("markers", "slow: starts processes, which takes seconds")
