"""The registry: from entry points to plugins, from names to factories, and options checked against signatures."""

from fedbench_core.registry.catalog import Description, Registry, registry
from fedbench_core.registry.options import Option, bind, read_options
from fedbench_core.registry.plugins import GROUP, HOOKS, KINDS, Plugin

__all__ = ["GROUP", "HOOKS", "KINDS", "Description", "Option", "Plugin", "Registry", "bind", "read_options", "registry"]
