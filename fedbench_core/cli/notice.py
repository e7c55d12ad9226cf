"""The warning about plugins that failed to load, for commands that use the others."""

import sys

import click

from fedbench_core.escapes import lines


def warn_of_broken_plugins() -> None:
    """Print the warning on stderr, once per command, if the command has loaded plugins at all."""
    catalog = sys.modules.get("fedbench_core.registry.catalog")  # importing it here would import torch
    meta = click.get_current_context().find_root().meta
    if catalog is None or not catalog.registry.cache_info().currsize or meta.setdefault(__name__, False):
        return
    warning = catalog.registry().warning()
    if warning:
        click.echo(lines(warning), err=True)
    meta[__name__] = True
