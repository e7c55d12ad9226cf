"""Runs that cost milliseconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.runner import Finished, How

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 3, "steps": 2, "batch_size": 8}
SMALL |= {"optimizer": "sgd", "schedule": "constant"}  # a step of plain SGD can be worked out by hand


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


class Tap:
    """What the test compressor logged: in `said`, `sent` and `decoded` one (round, bytes) per call, in order."""

    def __init__(self, folder: Path, way: str, options: dict[str, object]) -> None:
        folder.mkdir()
        self._folder = folder
        self.settings = {way: "kit-top", f"{way}.path": str(folder)}
        self.settings |= {f"{way}.{name}": value for name, value in options.items()}

    def __getattr__(self, what: str) -> list[tuple[int, bytes]]:
        logs = sorted(path for path in self._folder.iterdir() if path.name.split(".")[1] == what)
        return [(int(path.name.split(".")[2]), path.read_bytes()) for path in logs]


@pytest.fixture
def tap(tmp_path) -> Callable[..., Tap]:
    """A listener on a way: `tap("downlink")`, whose `settings` put it there."""
    return lambda way, **options: Tap(tmp_path / way, way, options)
