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


def default_workers(device: str) -> int:
    """How many worker processes a run has by default: one per core, one per GPU for `cuda`, one for `cuda:N`.

    Several on one GPU pay with small networks, but their memory adds up.
    """
    if device == "cpu":
        return os.cpu_count() or 1
    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


def use_gpu(spec: RunSpec, number: int) -> None:
    """Let the worker `number` compute on GPU `number` (mod the number of GPUs), if the run leaves open on which."""
    if spec.device == "cuda":
        torch.cuda.set_device(number % torch.cuda.device_count())


def bf16_note(spec: RunSpec) -> str | None:
    """A sentence if the run asks for bf16 on a processor that has no instructions for it."""
    if spec.precision != "bf16" or _has_bf16(spec.device):
        return None
    return (
        f"This processor has no bf16 instructions ({spec.device}): --precision bf16 will be slow; fp32 is faster here."
    )


def _has_bf16(device: str) -> bool:
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(able is True and "bf16" in name for name, able in torch.cpu.get_capabilities().items())


@contextmanager
def torch_set_up(spec: RunSpec) -> Iterator[None]:
    """As `set_up_torch`, for the block; the caller's number of threads is restored."""
    before = torch.get_num_threads()
    set_up_torch(spec)
    try:
        yield
    finally:
        torch.set_num_threads(before)
