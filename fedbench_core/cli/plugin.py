"""`fedbench plugin new` and `fedbench plugin check`."""

import click

from fedbench_core.cli.plugin_check import command as check
from fedbench_core.cli.plugin_new import command as new


@click.group("plugin")
def command() -> None:
    """Create a plugin, or run the contract tests on installed plugins.

    `fedbench plugins` lists the installed plugins.
    """


command.add_command(new)
command.add_command(check)
