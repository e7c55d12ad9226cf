"""fedbench: a benchmark harness for federated learning and distillation on medical images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench_core.federation.spec import RunSpec
    from fedbench_core.inference import load_model
    from fedbench_core.notebook import compare, records
    from fedbench_core.runner import run

__version__ = "0.2.0"
__all__ = ["RunSpec", "__version__", "compare", "load_model", "records", "run"]

_HOMES = {
    "RunSpec": "fedbench_core.federation.spec",
    "compare": "fedbench_core.notebook",
    "load_model": "fedbench_core.inference",
    "run": "fedbench_core.runner",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that `import fedbench_core` does not import torch."""
    if name == "records":  # the package of that name can be called
        return import_module("fedbench_core.records")
    if name not in _HOMES:
        raise AttributeError(f"module 'fedbench_core' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, which are imported on first use, and those of every module."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
