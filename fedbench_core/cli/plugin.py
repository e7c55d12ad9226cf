"""`fedbench plugin new` and `fedbench plugin check`."""

import click

from fedbench_core.cli.plugin_check import command as check
from fedbench_core.cli.plugin_new import command as new


@click.group("plugin")
def command() -> None:
    """Start a plugin of your own, or check what is installed.

    `fedbench plugins` lists them.
    """


command.add_command(new)
command.add_command(check)
