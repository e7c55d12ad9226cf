"""`fedbench plugins`."""

from dataclasses import asdict

import click

from fedbench_core.cli.output import echo, json_option, print_json, print_table


@click.command("plugins")
@json_option
def command(as_json: bool) -> None:
    """List the installed plugins: what each registers, or why it failed to load."""
    from fedbench_core.registry import registry  # noqa: PLC0415  # imports torch: slow, and --help does not need it

    plugins = registry().plugins()
    if as_json:
        print_json([asdict(plugin) for plugin in plugins])
        return
    columns = ("distribution", "version", "entry point", "registers", "problems")
    rows = [
        (plugin.distribution, plugin.version, plugin.entry_point, _names(plugin.registers), len(plugin.problems))
        for plugin in plugins
    ]
    print_table(columns, rows)
    for plugin in plugins:
        for problem in plugin.problems:
            echo(f"{plugin}: {problem}")


def _names(registers: dict[str, list[str]]) -> str:
    return "\n".join(f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in registers.items()) or "nothing"
