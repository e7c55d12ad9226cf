"""Runs that cost milliseconds."""

from collections.abc import Callable

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.results.run import Finished, How

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 3, "steps": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def spec(kit) -> Callable[..., RunSpec]:  # noqa: ARG001  # its parts must be installed
    """A spec of a small run; options with their dot: `spec("fedavg", **{"partitioner.alpha": 1})`."""

    def make(method: str = "fedavg", **settings: object) -> RunSpec:
        options = {key: settings.pop(key) for key in list(settings) if "." in key}
        budget = {"steps": None} if "epochs" in settings else {}
        return RunSpec.of({**SMALL, **budget, "method": method, **settings, "set": options})

    return make


@pytest.fixture(scope="module")
def go(spec, tmp_path_factory) -> Callable[..., Finished]:
    """Run a small spec; the same one is run once per module, unless `fresh` is asked for."""
    shared = tmp_path_factory.mktemp("runs")

    def start(method: str = "fedavg", *, fresh: bool = False, **settings: object) -> Finished:
        out = tmp_path_factory.mktemp("runs") if fresh else shared
        return run(spec(method, **settings), How(out=out, cache=shared, executor="serial"))

    return start
