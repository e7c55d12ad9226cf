import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import RoundContext, Task, Training, stream, torch_seed

words = st.lists(st.one_of(st.integers(-(2**40), 2**40), st.text(max_size=6)), max_size=4)


@given(seed=st.integers(0, 2**40), one=words, other=words)
def test_a_stream_follows_from_its_words_alone(seed, one, other) -> None:
    draws = stream(seed, *one).integers(0, 2**62, 4).tolist()
    assert draws == stream(seed, *one).integers(0, 2**62, 4).tolist()
    assert (draws == stream(seed, *other).integers(0, 2**62, 4).tolist()) == (one == other)
    assert draws != stream(seed + 1, *one).integers(0, 2**62, 4).tolist()


def test_words_are_not_run_together() -> None:
    assert (
        len(
            {
                torch_seed(0, *words)
                for words in (("a", "b"), ("ab",), ("a", "b", ""), ("a,b",), (1, 2), (12,), ("1", 2))
            }
        )
        == 7
    )


@given(seed=st.integers(0, 2**40), word=st.text(max_size=5))
def test_a_torch_seed_is_one_that_torch_takes(seed, word) -> None:
    value = torch_seed(seed, word)
    assert 0 <= value < 2**63
    torch.Generator().manual_seed(value)


def test_golden_draws() -> None:
    """Another draw would silently make every earlier record unrepeatable."""
    assert torch_seed(0, "init", "resnet18", "") == 386_959_468_679_261_722
    assert stream(7, "sample", 3).permutation(6).tolist() == [3, 5, 4, 1, 2, 0]


def test_another_process_draws_the_same() -> None:
    code = "from fedbench_core.api import torch_seed; print(torch_seed(5, 'test', 2))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == torch_seed(5, "test", 2)


def test_a_context_draws_by_round_and_step() -> None:
    def ctx(round_=0, step=0, seed=0):
        return RoundContext(round_, 5, step, seed, Task("binary", ("a", "b")), Training())

    draws = [ctx(*moment).rng("batches", 1).random() for moment in ((0, 0), (0, 1), (1, 0), (0, 0, 1))]
    assert len(set(draws)) == 4
    assert ctx().rng("batches", 1).random() == draws[0]
    assert ctx().rng("batches", 2).random() != draws[0]
    assert ctx().rng("order", 1).random() != draws[0]
    one, other = (torch.rand(3, generator=ctx(step=step).generator("noise", 1)) for step in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one, torch.rand(3, generator=ctx().generator("noise", 1)))


def test_progress_runs_from_nought_to_one() -> None:
    def progress(round_, rounds):
        return RoundContext(round_, rounds, 0, 0, Task("binary", ("a", "b")), Training()).progress

    assert np.array([progress(r, 5) for r in range(5)]).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert progress(0, 1) == 0
