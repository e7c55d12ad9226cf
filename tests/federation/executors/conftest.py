"""What a run must be the same as, however it is computed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.records.record import comparable, read_record
from fedbench_core.runner import How

SMALL = {"dataset": "spots", "clients": 4, "rounds": 4, "steps": 2, "batch_size": 8}
IMAGES = {"dataset.train": 128, "dataset.val": 64, "dataset.test": 64}
PHANTOM = {"dataset": "phantom", "backbones": "test_resnet,test_efficientnet", "rounds": 2}
KINDS = {
    "stateless": {"method": "fedavg", "backbones": "tiny"},
    "absent clients": {"method": "fedprox", "backbones": "tiny", "fraction": 0.75, "dropout": 0.3},
    "stateful": {"method": "kit-pair", "backbones": "tiny"},
    "stateful, absent clients": {
        "method": "kit-pair",
        "backbones": "tiny",
        "clients": 12,
        "rounds": 9,
        "fraction": 0.5,
    },
    "server with a memory": {"method": "kit-thrifty", "backbones": "tiny"},
    "ring": {"method": "kit-ring", "backbones": "tiny,wide"},
    "ring, a full circle": {"method": "kit-ring", "backbones": "tiny,wide", "set": {"topology.hops": 0}},
    "server that trains": {"method": "refined", "backbones": "tiny"},
    "centralized": {"method": "centralized", "backbones": "tiny"},
    "fedkd": {**PHANTOM, "method": "fedkd", "set": {**IMAGES, "local_update.student": "test_efficientnet"}},
    "fedskd": {**PHANTOM, "method": "fedskd", "set": IMAGES},
}
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def small(training_server) -> Callable[..., Settings]:  # noqa: ARG001  # its parts must be installed
    """The settings of a run of milliseconds: `small("ring")`, `small(method="local")`, changed as asked."""
    return lambda kind="", **changes: {**SMALL, **KINDS.get(kind, {}), **changes}


@pytest.fixture(scope="module")
def scientific() -> Callable[[Path], dict[str, Any]]:
    """What must not depend on how a run was computed: the record but for `how` and its seal, and the rows."""
    return lambda folder: {
        "record": comparable(read_record(folder)),
        **{name: (folder / name).read_text() for name in ("clients.csv", "messages.csv")},
        "models": {path.name: path.read_bytes() for path in sorted((folder / "models").glob("*"))},
    }


@pytest.fixture(scope="module")
def undisturbed(kit, scientific, tmp_path_factory) -> Callable[[Settings], dict[str, Any]]:  # noqa: ARG001  # installed
    """What a serial run of a spec gives; computed once for each."""
    known = {}

    def compute(settings):
        key = json.dumps(settings, sort_keys=True)
        if key not in known:
            out = tmp_path_factory.mktemp("serial")
            known[key] = scientific(run(RunSpec.of(settings), How(out=out, executor="serial")).folder)
        return known[key]

    return compute


@pytest.fixture
def doomed(small, tmp_path) -> Callable[..., RunSpec]:
    """A ring of which one turn ends badly; which and how, its options say. Marks are in `tmp_path / "marks"`."""
    marks = tmp_path / "marks"
    marks.mkdir()

    def spec(**options):
        chosen = {"local_update.path": str(marks), **options}
        return RunSpec.of(small(method="kit-doomed", backbones="tiny,wide", set=chosen))

    return spec
