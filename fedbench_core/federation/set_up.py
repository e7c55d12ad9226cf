"""What of torch decides about bits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fedbench_core.federation.spec import RunSpec


def set_up_torch(spec: RunSpec) -> None:
    """The number of threads, and on a GPU deterministic algorithms: both decide about bits."""
    torch.set_num_threads(spec.threads)
    if spec.device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False


@contextmanager
def torch_set_up(spec: RunSpec) -> Iterator[None]:
    """As `set_up_torch`, for as long as the block runs: its caller has a number of threads of its own."""
    before = torch.get_num_threads()
    set_up_torch(spec)
    try:
        yield
    finally:
        torch.set_num_threads(before)
