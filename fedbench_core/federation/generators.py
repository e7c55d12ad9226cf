"""The global random generators: seeded for each call, so that a run whose parts read them can be repeated."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from fedbench_core.api import torch_seed


@contextmanager
def own_generator(seed: int, device: str) -> Iterator[None]:
    """Seed the global generators, which initialization and dropout read, and put them back at the end.

    They are those of torch, of numpy, and of `random`. On a CPU, of torch's only that of the CPU: `torch.manual_seed`
    asks every kind of device, a millisecond a turn.
    """
    with torch.random.fork_rng(devices=[] if device == "cpu" else [torch.device(device)]), _others(seed):
        if device != "cpu":
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        yield


def own_generator_for(seed: int, *words: str | int) -> AbstractContextManager[None]:
    """As `own_generator`, seeded for what `words` describe, of a run with this seed."""
    return own_generator(torch_seed(seed, "torch", *words), "cpu")


@contextmanager
def _others(seed: int) -> Iterator[None]:
    kept, of_numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002  # what parts may read
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # as above
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(of_numpy)  # noqa: NPY002  # as above
