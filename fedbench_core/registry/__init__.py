"""The registry: from entry points to plugins, from names to factories, and options checked against signatures.

Names are imported on first use, because plugins and torch take seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench_core.registry.catalog import Description, Registry, registry
    from fedbench_core.registry.names import GROUP
    from fedbench_core.registry.options import Option, bind, read_options
    from fedbench_core.registry.plugins import HOOKS, KINDS, Plugin

__all__ = ["GROUP", "HOOKS", "KINDS", "Description", "Option", "Plugin", "Registry", "bind", "read_options", "registry"]

_MODULES = {
    "catalog": ("Description", "Registry", "registry"),
    "names": ("GROUP",),
    "options": ("Option", "bind", "read_options"),
    "plugins": ("HOOKS", "KINDS", "Plugin"),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
