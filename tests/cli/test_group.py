import os
import subprocess
import sys

import pytest

from fedbench_core import __version__
from fedbench_core.cli.group import COMMANDS, fedbench

COMMAND = [sys.executable, "-c", "from fedbench_core.cli import main; main()"]

BOOM = """
import click
from fedbench_core.api import DataError, RequestError, RunError

@click.command("boom")
def command():
    \"\"\"Fail.\"\"\"
    click.echo("begun")
    raise {error}
"""


@pytest.fixture
def boom(cli, distribution, monkeypatch):
    """Run a command that raises `error`."""

    def run(error, *flags):
        module = distribution("fedbench-boom", BOOM.format(error=error))
        monkeypatch.setitem(COMMANDS, "boom", (module, "Fail."))
        return cli(*flags, "boom")

    return run


def test_help_lists_every_command_with_the_first_line_of_its_help(cli):
    text = " ".join(cli("-h").stdout.split())
    assert text == " ".join(cli("--help").stdout.split())
    for name, (_, line) in COMMANDS.items():
        command = fedbench.get_command(None, name)
        assert f"{name} {line}" in text
        assert command.help.splitlines()[0] == line


def test_bug_is_reported_with_the_command_that_prints_its_traceback(boom):
    assert "fedbench --debug" in boom("ZeroDivisionError('by zero')").stderr


def test_version_is_printed(cli):
    assert cli("--version").stdout == f"fedbench, version {__version__}\n"


def test_help_imports_no_slow_module():
    program = """
import sys
from fedbench_core.cli import fedbench
from fedbench_core.cli.group import COMMANDS
loaded = lambda *names: [name for name in names if name in sys.modules]
for arguments in (["--version"], ["list", "--help"], ["show", "-h"], ["plugins", "-h"]):
    fedbench(arguments, standalone_mode=False)
slow = loaded("pydantic")
for name in COMMANDS:
    fedbench([name, "--help"], standalone_mode=False)
print(slow + loaded("torch", "numpy", "pandas", "matplotlib", "timm"), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert done.stdout.count("Usage: ") == len(COMMANDS) + 3


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        ("RequestError('No such thing.')", 2, "Error: No such thing.\n"),
        ("DataError('No such file.')", 1, "Error: No such file.\n"),
        ("RunError('It broke.')", 1, "Error: It broke.\n"),
        ("KeyboardInterrupt", 130, "Interrupted.\n"),
        ("ZeroDivisionError('by zero')", 1, "ZeroDivisionError: by zero"),
        ("click.UsageError('wrong flag')", 2, "Error: wrong flag\n"),
    ],
)
def test_error_is_a_message_on_stderr_and_an_exit_status(boom, error, status, message):
    result = boom(error)
    assert (result.exit_code, result.stdout) == (status, "begun\n")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_prints_the_traceback_and_keeps_the_status(boom):
    result = boom("RequestError('No such thing.')", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: No such thing.\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["list"], ["show"], ["list", "methods", "--jsn"]])
def test_wrong_command_line_is_refused_with_the_usage(cli, arguments):
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: fedbench" in result.stderr


def test_closed_pipe_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        command = [*COMMAND, "runs", "--json", "--out", tmp_path]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 1


def test_full_output_is_named_and_is_no_bug(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        command = [*COMMAND, "runs", "--json", "--out", tmp_path]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The output could not be written: No space left on device")


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("command", [["resume"], ["show"], ["leaderboard"], ["report"]])
def test_folder_that_can_not_be_entered_is_named_and_is_no_bug(cli, tmp_path, command):
    (tmp_path / "closed").mkdir(mode=0)
    result = cli(*command, str(tmp_path / "closed"))
    (tmp_path / "closed").chmod(0o700)
    assert result.exit_code == 1
    assert f"{tmp_path}/closed" in result.stderr
    assert "bug" not in result.stderr
