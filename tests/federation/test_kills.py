import importlib.util
import os
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("kills", Path(__file__).parents[1] / "kills.py")
kills = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kills)

FLAGS = "--dataset spots --clients 4 --rounds 12 --steps 2"
RING = "--method kit-ring --backbones tiny,wide"


@pytest.mark.slow
@pytest.mark.parametrize("method", [RING, "--method refined --backbones tiny"], ids=["ring", "training server"])
def test_killed_run_ends_with_the_same_record(method, kit, training_server, tmp_path) -> None:
    path = os.pathsep.join([str(kit), str(training_server), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": path, "FEDBENCH_CACHE": str(tmp_path / "cache")}
    how = ["--workers", "2"]
    assert kills.Killer([*method.split(), *FLAGS.split()], how, tmp_path, env=env).survive(1)["records compared"]
