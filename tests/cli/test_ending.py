"""How a process of the command line ends."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import atexit
import fedbench_core.cli as cli

class Kept:
    def __del__(self):
        print("freed")

def command(prog_name):
    atexit.register(print, "finished")
    raise SystemExit({status})

kept = Kept()
cli.fedbench = command
cli.main()
"""


def ended_with(status: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PROGRAM.format(status=status)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("status", [0, 2, 130])
def test_functions_of_libraries_are_called_and_objects_are_not_freed(status) -> None:
    ended = ended_with(status)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "finished\n", "")


def test_other_ends_are_left_to_python() -> None:
    ended = ended_with("'a message'")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "finished\nfreed\n", "a message\n")


def test_bug_in_the_command_line_itself_is_reported() -> None:
    """Python prints the traceback of what is no SystemExit, and exits with 1."""
    program = "import fedbench_core.cli as cli; cli.fedbench = lambda prog_name: 1 / 0; cli.main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, "ZeroDivisionError" in ended.stderr) == (1, True)


def test_output_that_can_not_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        command = [sys.executable, "-c", PROGRAM.format(status=0)]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        ended = subprocess.run(command, env=buffered, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, "No space left" in ended.stderr) == (120, True)
