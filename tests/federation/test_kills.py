import importlib.util
import os
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("kills", Path(__file__).parents[1] / "kills.py")
kills = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kills)

FLAGS = "--method kit-ring --backbones tiny,wide --dataset spots --clients 4 --rounds 60 --steps 2 --workers 2"


def test_a_run_that_is_killed_five_times_ends_with_the_same_record(kit, tmp_path) -> None:
    env = {**os.environ, "PYTHONPATH": str(kit), "FEDBENCH_CACHE": str(tmp_path / "cache")}
    kills.survive(FLAGS.split(), 5, tmp_path, env=env)
