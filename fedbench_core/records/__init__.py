"""Records of runs: contents, digest, comparison, and run folders. Called, it gives the records of run folders.

`fedbench_core.records("runs")` is for a Python session; the package has that name already.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Records(ModuleType):
    """This package, which can be called as `fedbench_core.notebook.records`."""

    def __call__(self, *sources: Any) -> Any:
        """The records that `sources` name: see `fedbench_core.notebook.records`."""
        return import_module("fedbench_core.notebook").records(*sources)  # above this floor, and only if called


sys.modules[__name__].__class__ = _Records
