"""The group of commands: each is imported when it is called, and every failure ends in one sentence and a status."""

import sys
import traceback
from importlib import import_module
from typing import Any

import click

from fedbench_core import __version__
from fedbench_core.cli.notice import tell_of_broken_plugins

# Name: where it is, what it does. The help is here too, so that `fedbench --help` imports no command.
COMMANDS = {
    "run": ("fedbench_core.cli.run", "Run a method on a federation and print its scores."),
    "resume": ("fedbench_core.cli.resume", "Go on with the interrupted run in the folder RUN."),
    "suite": ("fedbench_core.cli.suite", "Run a suite of comparisons, or see how far it is."),
    "submit": ("fedbench_core.cli.submit", "File the record of a run under a suite that asks for it."),
    "verify": ("fedbench_core.cli.verify", "Run a record again and tell whether the bits agree."),
    "leaderboard": (
        "fedbench_core.cli.leaderboard",
        "Rank the records of a suite, as far as the tests can tell its entries apart.",
    ),
    "plot": ("fedbench_core.cli.plot", "Draw pictures of a run or a suite, as SVG, PNG or PDF."),
    "partition": (
        "fedbench_core.cli.partition",
        "How a run with these flags would deal out the images: clients by classes.",
    ),
    "list": ("fedbench_core.cli.list_", "What is installed: methods, datasets, backbones and every kind of part."),
    "show": ("fedbench_core.cli.show", "One name in full: its options, their defaults and meaning, its paper."),
    "plugins": ("fedbench_core.cli.plugins", "Every plugin: what it registers, or why it failed to load."),
    "plugin": ("fedbench_core.cli.plugin", "Start a plugin of your own, or check what is installed."),
    "reference": ("fedbench_core.cli.reference", "The contract and every option of the core's parts, as Markdown."),
}
INTERRUPTED = 130


class Commands(click.Group):
    """Commands by name, imported on demand; their failures as one sentence on stderr and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # click's signature
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # as above
        """The command of that name, from its module's `command`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # as above
        """List the commands with their help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong in it is told as `_tell` does."""
        try:
            result = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own business: usage errors are exit 2, a closed pipe ends quietly
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the roof: nothing falls through without a sentence
            if ctx.params["debug"]:
                traceback.print_exc()
            ctx.exit(_tell(error))
        if ctx.invoked_subcommand != "plugins":  # which says it all
            tell_of_broken_plugins()
        return result


def _tell(error: BaseException) -> int:
    # By attribute: importing the class would import torch to tell that something else went wrong.
    status = getattr(error, "exit_code", None)
    if isinstance(status, int):
        click.echo(f"Error: {error}", err=True)
        return status
    if isinstance(error, KeyboardInterrupt):
        click.echo(f"Interrupted. {error}".strip(), err=True)
        return INTERRUPTED
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    hint = f"fedbench --debug {' '.join(sys.argv[1:])}".strip()
    click.echo(f"Error: this should not happen: {said}. `{hint}` shows where.", err=True)
    return 1


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fedbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def fedbench(debug: bool) -> None:
    """Benchmark federated learning and distillation on medical images."""
