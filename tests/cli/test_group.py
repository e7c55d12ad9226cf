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
    """Run a command that raises what it is told to."""

    def run(error, *flags):
        module = distribution("fedbench-boom", BOOM.format(error=error))
        monkeypatch.setitem(COMMANDS, "boom", (module, "Fail."))
        return cli(*flags, "boom")

    return run


def test_every_command_is_in_the_help_in_its_own_words(cli):
    text = " ".join(cli("-h").stdout.split())
    assert text == " ".join(cli("--help").stdout.split())
    for name, (_, line) in COMMANDS.items():
        command = fedbench.get_command(None, name)
        assert f"{name} {line}" in text
        assert command.help.splitlines()[0] == line


def test_the_version(cli):
    assert cli("--version").stdout == f"fedbench, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list", "--help"], ["show", "-h"], ["plugins", "-h"]]
)
def test_help_imports_nothing_that_takes_long(arguments):
    program = f"""
import sys
from fedbench_core.cli import fedbench
fedbench({arguments}, standalone_mode=False)
print(sorted({{"torch", "pydantic", "pandas", "numpy", "timm"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert done.stdout


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        ("RequestError('No such thing.')", 2, "Error: No such thing.\n"),
        ("DataError('No such file.')", 1, "Error: No such file.\n"),
        ("RunError('It broke.')", 1, "Error: It broke.\n"),
        ("KeyboardInterrupt", 130, "Interrupted.\n"),
        (
            "ZeroDivisionError('by zero')",
            1,
            "Error: this should not happen: ZeroDivisionError: by zero. `fedbench --debug",
        ),
        ("click.UsageError('wrong flag')", 2, "Error: wrong flag\n"),
    ],
)
def test_a_failure_is_a_sentence_on_stderr_and_a_status(boom, error, status, said):
    result = boom(error)
    assert (result.exit_code, result.stdout) == (status, "begun\n")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback_and_keeps_the_status(boom):
    result = boom("RequestError('No such thing.')", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: No such thing.\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["list"], ["show"], ["list", "methods", "--jsn"]])
def test_a_wrong_command_line_is_exit_2(cli, arguments):
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: fedbench" in result.stderr


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [*COMMAND, "plugins", "--json"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == ""
    assert done.returncode == 1
