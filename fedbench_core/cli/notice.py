"""A word about plugins that something is wrong with, to whoever uses the others."""

import sys

import click


def tell_of_broken_plugins() -> None:
    """Name them on stderr, once per command, if the command has looked at plugins at all."""
    catalogue = sys.modules.get("fedbench_core.registry.catalogue")  # importing it would import torch
    meta = click.get_current_context().find_root().meta
    if catalogue is None or not catalogue.registry.cache_info().currsize or meta.setdefault(__name__, False):
        return
    warning = catalogue.registry().warning()
    if warning:
        click.echo(warning, err=True)
    meta[__name__] = True
