"""Runs of plugins that are killed and go on, on Ray clusters of their own: the records and rows of a serial run."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]
pytest.importorskip("ray")

_SPEC = importlib.util.spec_from_file_location("kills", Path(__file__).parents[2] / "kills.py")
kills = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kills)

FLAGS = (
    "--backbones test_resnet --dataset phantom --limit 200 --rounds 3 --clients 4 --steps 3 --set backbone.stem=timm"
)


@pytest.mark.parametrize(
    "method",
    [
        "scaffold --momentum 0",
        "feddf --public 0.2 --set aggregator.steps=5 --set aggregator.batch_size=16",
        "fedamp",
    ],
    ids=lambda flags: flags.split()[0],
)
def test_run_that_is_killed_on_ray_ends_with_the_serial_record(method, tmp_path) -> None:
    flags = ["--method", *method.split(), *FLAGS.split()]
    met = kills.Killer(flags, ["--executor", "ray", "--workers", "2"], tmp_path, order=1).survive(3)
    assert met["records compared"]
