"""A faulty plugin ends its run with an error that names the part, the plugin, the client and the round."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from fedbench_core.api import FedbenchError
from fedbench_core.records.record import comparable
from fedbench_core.runner import How, run

FAULTY = (Path(__file__).parent / "faulty.py").read_text()
FROM = "of fedbench-faulty 1.0"


@pytest.fixture(scope="module")
def faulty(installed, spec):
    """A run with a part that has a fault: `faulty("compressor", "nan")`."""
    installed("fedbench-faulty", FAULTY)

    def start(part, fault, how):
        name = {
            "local_update": {},
            "compressor": {"compressor": "t-wire"},
            "downlink": {"downlink": "t-wire"},
            "aggregator": {"aggregator": "t-merge"},
            "topology": {"topology": "t-plan"},
            "partitioner": {"partitioner": "t-deal"},
            "dataset": {"dataset": "t-data"},
            "backbone": {"backbones": "t-net"},
        }[part]
        return run(spec("t-method", **name, **{f"{part}.fault": fault}), how)

    return start


@pytest.mark.parametrize(
    ("part", "fault", "says"),
    [
        ("local_update", "setup", f"client 0, round 0: local update t-update {FROM} raised KeyError: 'x' ("),
        (
            "local_update",
            "gpu memory",
            "for tiny with --batch-size 8 (CUDA out of memory. Tried to allocate 2.00 GiB). Use a smaller --batch-size",
        ),
        ("local_update", "dtype", f"client 1, round 1: local update t-update {FROM}: it changed torch's default dtype"),
        ("local_update", "memory", "client 1, round 1: there is not enough memory for tiny with --batch-size 8. Use"),
        ("local_update", "exit", f"client 1, round 1: local update t-update {FROM} raised SystemExit"),
        (
            "local_update",
            "dict",
            f"client 1, round 1: local update t-update {FROM}: its update's payload is",
        ),
        ("local_update", "array", f"local update t-update {FROM}: its payload's 'more' is of type ndarray"),
        ("local_update", "number", f"local update t-update {FROM}: its payload's meta 'round' is of type int"),
        ("local_update", "complex", "compressor dense of fedbench-core 0.2.0: tensor 'more' is torch.complex64"),
        ("local_update", "metric", f"local update t-update {FROM}: its metric 'loss' is of type str"),
        (
            "local_update",
            "shape",
            "client 1, round 1: aggregator mean of fedbench-core 0.2.0: Only messages with the same",
        ),
        ("local_update", "name", "'head.bias' is float32 (3,) from client 0 and missing from client 1"),
        ("local_update", "name", f"(the messages are those of local update t-update {FROM})"),
        (
            "local_update",
            "models",
            f"client 0, round 0: local update t-update {FROM}: models and modules hold what",
        ),
        ("local_update", "nobody", "local update t-update returned no model"),
        ("local_update", "list", f"local update t-update {FROM}: what it returned as predictors is of type list"),
        ("local_update", "function", f"local update t-update {FROM}: predictor 'global' is of type builtin"),
        (
            "local_update",
            "identity",
            f"local update t-update {FROM}: its predictor returned (24, 3, 8, 8)",
        ),
        ("local_update", "blind", f"local update t-update {FROM}: its predictor returned NaN"),
        ("compressor", "raise", f"client 0, round 1: compressor t-wire {FROM} raised ZeroDivisionError: by zero ("),
        ("compressor", "dict", f"client 0, round 1: compressor t-wire {FROM}: what encode returned is of type dict"),
        ("compressor", "memory", f"client 0, round 1: compressor t-wire {FROM}: memory holds tensors"),
        (
            "compressor",
            "none",
            f"client 0, round 0: compressor t-wire {FROM}: what decode returned is",
        ),
        (
            "compressor",
            "drops",
            f"client 0, round 0: compressor t-wire {FROM}: 'head.bias' was torch.float32 (3,)",
        ),
        ("compressor", "nan", f"client 0, round 0: compressor t-wire {FROM}: tensor 'head.bias' of what it decoded"),
        ("downlink", "drops", f"round 0: compressor t-wire {FROM}: 'head.bias' was torch.float32 (3,)"),
        ("downlink", "raise", f"round 1: compressor t-wire {FROM} raised ZeroDivisionError: by zero ("),
        ("aggregator", "add", f"client 2, round 0: aggregator t-merge {FROM} raised ZeroDivisionError: by zero ("),
        (
            "aggregator",
            "nan",
            f"the server, round 0: aggregator t-merge {FROM}: tensor 'head.bias' of its",
        ),
        (
            "aggregator",
            "none",
            f"round 0: aggregator t-merge {FROM}: the result of its aggregation is",
        ),
        ("aggregator", "no merge", f"client 0, round 0: aggregator t-merge {FROM} raised AttributeError"),
        ("aggregator", "memory", f"round 0: aggregator t-merge {FROM}: memory holds tensors"),
        ("topology", "raise", f"round 1: topology t-plan {FROM} raised ZeroDivisionError: by zero ("),
        ("topology", "endless", f"round 1: topology t-plan {FROM}: its plan for round 1 has more than 1000 phases"),
        (
            "topology",
            "absent",
            f"round 1: topology t-plan {FROM}: it plans a turn of client 7, which does not",
        ),
        (
            "topology",
            "nowhere",
            f"round 1: topology t-plan {FROM}: client 0 is to send to node 99",
        ),
        ("topology", "numpy", f"round 1: topology t-plan {FROM}: 0, a client or node of its plan, is of type int64"),
        ("topology", "twice", f"round 1: topology t-plan {FROM}: it plans two turns of client 1 in one phase"),
        ("partitioner", "raise", f"partitioner t-deal {FROM} raised ZeroDivisionError: by zero ("),
        ("partitioner", "few", f"partitioner t-deal {FROM}: it split images among 3 clients as [20, 20]"),
        ("partitioner", "loses", f"partitioner t-deal {FROM}: it returned 57 indices for 60 images"),
        ("dataset", "raise", f"dataset t-data {FROM} raised KeyError: 'images' ("),
        ("dataset", "list", f"dataset t-data {FROM}: what load returned is of type list; expected Splits"),
        ("backbone", "raise", f"backbone t-net {FROM} raised KeyError: 'layers' ("),
        ("backbone", "identity", f"backbone t-net {FROM}: what build returned is of type Identity; expected Backbone"),
    ],
)
def test_error_names_part_plugin_client_and_round(faulty, tmp_path, part, fault, says) -> None:
    with pytest.raises(FedbenchError) as caught:
        faulty(part, fault, How(out=tmp_path, cache=tmp_path, executor="serial"))
    assert says in str(caught.value)
    assert str(caught.value).count(" raised ") <= 1, "blamed twice"
    if " raised " in says:
        assert "fedbench_faulty_module.py:" in str(caught.value) or fault in {"exit", "no merge"}
        assert "`fedbench plugin check " in str(caught.value)
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize(
    ("part", "fault", "says"),
    [
        ("local_update", "exit", f"client 1, round 1: local update t-update {FROM} raised SystemExit"),
        ("partitioner", "process", f"partitioner t-deal {FROM}: it gives other images in each process"),
    ],
)
def test_error_of_a_worker_process_names_the_part(faulty, tmp_path, part, fault, says) -> None:
    with pytest.raises(FedbenchError, match=says):
        faulty(part, fault, How(out=tmp_path, cache=tmp_path, workers=1))


@pytest.mark.parametrize("part", ["local_update", "downlink", "aggregator", "partitioner"])
def test_part_that_draws_from_global_generators_gives_the_same_record_again(faulty, tmp_path, part) -> None:
    runs = [faulty(part, "global generators", How(tmp_path / name, cache=tmp_path, executor="serial")) for name in "ab"]
    one, other = (comparable(finished.record) for finished in runs)
    assert one == other


def test_global_generators_of_the_caller_are_put_back(faulty, tmp_path) -> None:
    before = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002  # the caller's
    faulty("local_update", "global generators", How(tmp_path, cache=tmp_path, executor="serial"))
    assert (random.getstate(), repr(np.random.get_state())) == before[:2]  # noqa: NPY002  # as above
    assert torch.equal(torch.get_rng_state(), before[2])
