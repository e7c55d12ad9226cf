"""States that stay with the worker change nothing; here on the CPU, where a run keeps none."""

import pytest
import torch

from fedbench_core import RunSpec, run
from fedbench_core.federation import worker
from fedbench_core.federation.calls import TurnCall
from fedbench_core.federation.node_state import NodeState, Weights
from fedbench_core.federation.recent_states import RecentStates
from fedbench_core.federation.worker import Worker
from fedbench_core.runner import How

KINDS = ("stateful, absent clients", "server that trains", "ring, a full circle")
ERROR_FEEDBACK = {"compressor": "kit-top", "set": {"compressor.keep": 0.1}}


def _state(value: float) -> NodeState:
    """A state of 24 bytes."""
    weights = {"net": Weights("tiny", {"w": torch.full((2,), value), "b": torch.zeros(1)})}
    return NodeState(weights, memory={"m": torch.zeros(2), "round": 3}, compressors={"server": {"e": torch.zeros(1)}})


def test_state_unused_for_longest_is_dropped_first() -> None:
    recent, states = RecentStates(60), {digest: _state(float(number)) for number, digest in enumerate("abc")}
    recent.put("a", states["a"])
    recent.put("b", states["b"])
    assert recent.get("a") is states["a"]
    recent.put("c", states["c"])
    assert [recent.get(digest) for digest in "abc"] == [states["a"], None, states["c"]]


def test_state_larger_than_the_limit_is_not_kept() -> None:
    recent = RecentStates(23)
    recent.put("a", _state(0.0))
    assert recent.get("a") is None
    recent.put("b", NodeState(memory={"m": torch.zeros(5)}))
    assert recent.get("b") is not None
    recent.put("c", _state(0.0))
    assert recent.get("b") is not None


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [4000, 10**9])
@pytest.mark.parametrize("kind", KINDS)
def test_run_has_the_same_bits(kind, limit_bytes, small, scientific, undisturbed, tmp_path, monkeypatch) -> None:
    settings = small(kind) if kind != "stateful, absent clients" else small(kind, **ERROR_FEEDBACK)
    wanted = undisturbed(settings)
    monkeypatch.setattr(worker, "spare_bytes", lambda _device: limit_bytes)
    assert scientific(run(RunSpec.of(settings), How(tmp_path, executor="serial")).folder) == wanted


@pytest.mark.parametrize("kind", ["stateful", "server with a memory"])
def test_repeated_call_gives_the_same_again(kind, small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(worker, "spare_bytes", lambda _device: 10**9)
    once, repeated = Worker.do, []

    def twice(self, call):
        first, again = once(self, call), once(self, call)
        if isinstance(call, TurnCall):
            repeated.append((first.state, first.encoded) == (again.state, again.encoded))
        return again

    monkeypatch.setattr(Worker, "do", twice)
    run(RunSpec.of(small(kind, **ERROR_FEEDBACK)), How(tmp_path, executor="serial"))
    assert len(repeated) == 16
    assert all(repeated)


def test_turns_and_scores_read_no_state_of_a_client_that_is_kept(small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(worker, "spare_bytes", lambda _device: 10**9)
    # Not read either, so that all reads are states.
    monkeypatch.setattr(Worker, "_receive", lambda _self, _stored: None)
    reads: list[object] = []
    monkeypatch.setattr(worker.files, "read", reads.append)
    run(RunSpec.of(small(method="local", backbones="tiny")), How(tmp_path, executor="serial"))
    assert not reads
