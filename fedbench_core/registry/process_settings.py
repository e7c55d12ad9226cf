"""Settings of the whole process, such as torch's default dtype: a change affects the numbers of every method."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module
from torch.optim import optimizer

Access = tuple[Callable[[], Any], Callable[[Any], Any]]
_VARIABLES = (
    *("ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"),
    *("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "FEDBENCH_CACHE"),
)
"""Variables that libraries read late, so that numbers, or where files are, depend on them."""
_HOOKS = [
    hooks
    for owner in (module, optimizer)
    for name, hooks in sorted(vars(owner).items())
    if name.startswith("_global_") and isinstance(hooks, dict)
]
"""Functions that torch calls for every module or optimizer."""


def _hooks() -> dict[int, dict[Any, Any]]:
    return {number: dict(hooks) for number, hooks in enumerate(_HOOKS) if hooks}


def _put_hooks(before: Mapping[int, dict[Any, Any]]) -> None:
    for number, hooks in enumerate(_HOOKS):
        hooks.clear()
        hooks.update(before.get(number, {}))


def _put_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)  # None is faster than the CPU


def _working_directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  # a hundred times as fast as Path.cwd
    except FileNotFoundError:  # it was removed
        return None


def _enter(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _put_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


SETTINGS: Mapping[str, Access] = MappingProxyType(
    {
        "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "torch's default device": (torch.get_default_device, _put_device),
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
        "torch's use of oneDNN": (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),  # noqa: SLF001  # it has no public setter
        "torch's hooks of all modules and optimizers": (_hooks, _put_hooks),
        "numpy's handling of floating-point errors": (np.geterr, lambda errors: np.seterr(**errors)),
        "the working directory": (_working_directory, _enter),
    }
)
"""By description: a getter and a setter."""
_ENVIRONMENT: Mapping[str, Access] = MappingProxyType(
    {
        f"the environment variable {name}": (partial(os.environ.get, name), partial(_put_variable, name))
        for name in _VARIABLES
    }
)
_ALL: Mapping[str, Access] = MappingProxyType({**SETTINGS, **_ENVIRONMENT})


def process_settings(settings: Mapping[str, Access] = _ALL) -> dict[str, Any]:
    """The present value of every setting, by its description."""
    return {setting: getter() for setting, (getter, _) in settings.items()}


@contextmanager
def restored_settings(settings: Mapping[str, Access] = _ALL) -> Iterator[list[str]]:
    """A block after which all settings have their previous values.

    The yielded list is filled when the block ends, with each change: "torch's number of threads from 1 to 2".
    """
    changes: list[str] = []
    before = process_settings(settings)
    try:
        yield changes
    finally:
        for setting, now in process_settings(settings).items():
            if now != before[setting]:
                settings[setting][1](before[setting])
                changes.append(f"{setting} from {before[setting]} to {now}")
