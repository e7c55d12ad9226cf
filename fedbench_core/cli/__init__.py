"""The command `fedbench`: one file per command; the only package that prints."""

from fedbench_core.cli.group import fedbench


def main() -> None:
    """Run the command line of this process and exit with its status."""
    fedbench(prog_name="fedbench")
