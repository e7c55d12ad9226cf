"""A word about plugins that something is wrong with, to whoever uses the others."""

import sys

import click


def tell_of_broken_plugins() -> None:
    """Name them on stderr, once per command, if the command has looked at plugins at all."""
    catalog = sys.modules.get("fedbench_core.registry.catalog")  # importing it would import torch
    meta = click.get_current_context().find_root().meta
    if catalog is None or not catalog.registry.cache_info().currsize or meta.setdefault(__name__, False):
        return
    warning = catalog.registry().warning()
    if warning:
        click.echo(warning, err=True)
    meta[__name__] = True
