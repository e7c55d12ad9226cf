"""The command `fedbench`: one file per command; the only package that prints."""

from fedbench_core.cli.ending import AtOnce
from fedbench_core.cli.group import fedbench


def main() -> None:
    """Run the command line of this process and exit with its status."""
    ending = AtOnce()
    try:
        fedbench(prog_name="fedbench")
    except SystemExit as error:
        if isinstance(error.code, int):
            ending.status = error.code
        raise
