"""The command group: imports each command when it is called; turns every error into one message and an exit status."""

import errno
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from fedbench_core import __version__
from fedbench_core.cli.known import remember
from fedbench_core.cli.notice import warn_of_broken_plugins
from fedbench_core.escapes import line, lines

# Name: module and help text. The help is repeated here so that `fedbench --help` imports no command.
COMMANDS = {
    "run": ("fedbench_core.cli.run", "Run a federated method and print its scores."),
    "resume": ("fedbench_core.cli.resume", "Resume the interrupted run in the folder RUN."),
    "compare": (
        "fedbench_core.cli.compare",
        "Run METHODS with the same settings and seeds, and compare their scores by significance tests.",
    ),
    "predict": ("fedbench_core.cli.predict", "Write the class probabilities that a kept model predicts, as CSV."),
    "runs": ("fedbench_core.cli.runs", "List the runs in a folder, or remove the interrupted ones."),
    "suite": ("fedbench_core.cli.suite", "Run or tune a suite of experiments, or show its status."),
    "submit": ("fedbench_core.cli.submit", "Add the record of a run to a suite."),
    "verify": ("fedbench_core.cli.verify", "Repeat a recorded run and check that the results are identical."),
    "leaderboard": (
        "fedbench_core.cli.leaderboard",
        "Rank the entries of a suite by significance tests on its records.",
    ),
    "report": ("fedbench_core.cli.html", "Write leaderboards and runs as one HTML file, which needs nothing else."),
    "track": (
        "fedbench_core.cli.track",
        "Send runs to trackers such as TensorBoard, which show their settings, curves and scores.",
    ),
    "plot": ("fedbench_core.cli.plot", "Plot a run or a suite as SVG, PNG or PDF."),
    "partition": (
        "fedbench_core.cli.partition",
        "Show the number of images of each class that each client gets.",
    ),
    "data": ("fedbench_core.cli.data", "Check a dataset: classes, sites, duplicates, and what is wrong in which file."),
    "list": ("fedbench_core.cli.list_", "List the installed methods, datasets, backbones, parts or trackers."),
    "show": (
        "fedbench_core.cli.show",
        "Show a method, part, dataset or backbone with its options, or the scores of a run.",
    ),
    "plugins": (
        "fedbench_core.cli.plugins",
        "List the installed plugins: what each registers, or why it failed to load.",
    ),
    "plugin": ("fedbench_core.cli.plugin", "Create a plugin, or run the contract tests on installed plugins."),
    "reference": (
        "fedbench_core.cli.reference",
        "Print the plugin API and every option of the core's parts, as Markdown.",
    ),
}
INTERRUPTED = 130
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
"""Errors of writing that no code can prevent: a full, worn or read-only disk."""
_OF_THE_PATH = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""Errors of a path that a user gave, or of a folder below it: no permission, or not what its name says."""


class Commands(click.Group):
    """Commands by name, imported on demand; an error becomes one message on stderr and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # click's signature
        """The names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # as above
        """The attribute `command` of the command's module, None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # as above
        """Write the commands and their help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error and exit with its status."""
        try:
            result = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click handles these: a usage error exits with 2, a closed pipe ends silently
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the last handler: no error may end in a traceback
            if ctx.params["debug"]:
                traceback.print_exc()
            status = _print_error(error)
            _drop_unwritten()
            remember()
            ctx.exit(status)
        if ctx.invoked_subcommand != "plugins":  # it lists the problems itself
            warn_of_broken_plugins()
        remember()
        return result


def _drop_unwritten() -> None:
    """Discard output that can't be written, which Python would try again at its end and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(error: BaseException) -> int:
    """Print the error on stderr; return the exit status."""
    # An attribute instead of isinstance: importing the class would import torch.
    status = getattr(error, "exit_code", None)
    if isinstance(status, int):
        click.echo(lines(f"Error: {error}"), err=True)
        return status
    if isinstance(error, KeyboardInterrupt):
        click.echo(lines(f"Interrupted. {error}".strip()), err=True)
        return INTERRUPTED
    if isinstance(error, OSError) and (problem := _file_problem(error)):
        click.echo(lines(f"Error: {problem[0]}"), err=True)
        return problem[1]
    if isinstance(error, MemoryError):
        click.echo(f"Error: there is not enough memory for this run. {error}".strip(), err=True)
        return 1
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    hint = f"fedbench --debug {' '.join(sys.argv[1:])}".strip()
    click.echo(lines(f"Error: unexpected {message}. This is a bug; `{hint}` prints the traceback."), err=True)
    return 1


def _file_problem(error: OSError) -> tuple[str, int] | None:
    """The message and the exit status if the fault is that of a file, not of the code."""
    if error.errno == errno.ENAMETOOLONG:
        return f"the name {line(str(error.filename))[:40]}... is too long for a file. Use a shorter one.", 2
    if error.errno in _OF_THE_DISK:
        return f"{error.filename or 'The output'} could not be written: {error.strerror}.", 1
    if error.errno in _OF_THE_PATH and error.filename is not None:
        return f"{error.filename} could not be read or written: {error.strerror}.", 1
    return None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fedbench")
@click.option("--debug", is_flag=True, help="print the traceback of an error")
def fedbench(debug: bool) -> None:
    """Benchmark federated learning and distillation on medical images."""
