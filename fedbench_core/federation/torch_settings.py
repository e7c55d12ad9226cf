"""The settings of torch that change the bits of a result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fedbench_core.federation.spec import RunSpec


def set_up_torch(spec: RunSpec) -> None:
    """Set the number of threads and, on a GPU, deterministic algorithms."""
    torch.set_num_threads(spec.threads)
    if spec.device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False


@contextmanager
def torch_set_up(spec: RunSpec) -> Iterator[None]:
    """As `set_up_torch`, for the block; the caller's number of threads is restored."""
    before = torch.get_num_threads()
    set_up_torch(spec)
    try:
        yield
    finally:
        torch.set_num_threads(before)
