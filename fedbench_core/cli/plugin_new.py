"""`fedbench plugin new NAME`."""

from pathlib import Path

import click

from fedbench_core.cli.list_ import KINDS
from fedbench_core.cli.output import echo, json_option, print_json

# On the command line `local-update`, in the registry `local_update`.
_KINDS = {kind.replace("_", "-"): kind for kind in KINDS.values()}


@click.command("new")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(list(_KINDS)), default="method", help="kind of part that it adds  [default: method]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), help="parent folder of the package  [default: .]"
)
@json_option
def command(name: str, kind: str, out: Path, as_json: bool) -> None:
    """Create a package that adds NAME to fedbench, as a template.

    The package can be installed, runs, and passes its contract tests. Comments mark what to replace.
    """
    from fedbench_core.testing.scaffold import create  # noqa: PLC0415  # imports torch: slow, and --help does not need it

    folder = create(name, _KINDS[kind], out)
    module = folder / "src" / f"fedbench_{name.replace('-', '_')}" / "__init__.py"
    if as_json:
        print_json({"folder": folder, "module": module})
        return
    echo(f"Created {module}. To try it:\n")
    echo(f"pip install -e {folder}\nfedbench plugin check {name}")
