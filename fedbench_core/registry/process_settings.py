"""Settings of the whole process, such as torch's default dtype: a change affects the numbers of every method."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

_Access = tuple[Callable[[], Any], Callable[[Any], Any]]
_SETTINGS: Mapping[str, _Access] = MappingProxyType(
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
"""By description: a getter and a setter."""


def process_settings() -> dict[str, Any]:
    """The present value of every setting, by its description."""
    return {setting: getter() for setting, (getter, _) in _SETTINGS.items()}


@contextmanager
def restored_settings() -> Iterator[list[str]]:
    """A block after which all settings have their previous values.

    The yielded list is filled when the block ends, with each change: "torch's number of threads from 1 to 2".
    """
    changes: list[str] = []
    before = process_settings()
    try:
        yield changes
    finally:
        for setting, now in process_settings().items():
            if now != before[setting]:
                _SETTINGS[setting][1](before[setting])
                changes.append(f"{setting} from {before[setting]} to {now}")
