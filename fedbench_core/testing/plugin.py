"""The pytest plugin that comes with fedbench: the assertions of the contract suites tell values, as a test's own do."""

import pytest

# By name, because pytest loads this in every run of the environment, and the suites import torch.
_SUITES = (
    "aggregator",
    "backbone",
    "compressor",
    "contract",
    "dataset",
    "examples",
    "local_update",
    "method",
    "partitioner",
    "small",
    "topology",
)

pytest.register_assert_rewrite(*(f"fedbench_core.testing.{suite}" for suite in _SUITES))
