"""What all code of a process shares: whoever changes it changes the numbers of methods that are not its own."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

_Access = tuple[Callable[[], Any], Callable[[Any], Any]]
SHARED: Mapping[str, _Access] = MappingProxyType(
    {
        "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
        "whether torch computes gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
        "whether torch is deterministic": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        "torch's precision of matrix products": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        "numpy's handling of floating-point errors": (np.geterr, lambda errors: np.seterr(**errors)),
        "the working directory": (Path.cwd, os.chdir),
    }
)
"""Settings by what they are, each with what reads and what sets it."""


def shared_settings() -> dict[str, Any]:
    """The present value of each."""
    return {setting: read() for setting, (read, _) in SHARED.items()}


@contextmanager
def put_back() -> Iterator[list[str]]:
    """At its end all settings are as before the block; the list then says what was changed: `x from 1 to 2`."""
    changed: list[str] = []
    before = shared_settings()
    try:
        yield changed
    finally:
        for setting, now in shared_settings().items():
            if now != before[setting]:
                SHARED[setting][1](before[setting])
                changed.append(f"{setting} from {before[setting]} to {now}")
