"""`fedbench partition`: the images of each client."""

from pathlib import Path
from typing import Any

import click

from fedbench_core.cli.flags import data_flag, read_spec, spec_flags
from fedbench_core.cli.output import echo, json_option, print_json, print_table


@click.command("partition")
@spec_flags
@data_flag
@json_option
def command(config: Path | None, data_root: Path | None, as_json: bool, **flags: Any) -> None:
    """Show the number of images of each class that each client gets.

    Takes the flags of `fedbench run`. Flags that don't concern the data have no effect, and --method is optional.
    """
    spec = read_spec(flags, config, method="local")
    from fedbench_core.runner import How, partition_of, resolve_with_sites  # noqa: PLC0415  # imports torch: slow

    how = How(data_root=data_root)

    def say(line: str) -> None:
        echo(line, err=True)

    run, splits = resolve_with_sites(spec, how, say)
    partition = partition_of(run, how, say, splits)
    classes = partition.splits.task.classes
    single = partition.splits.task.kind != "multi-label"
    rows = [
        {
            "client": client,
            **({"site": partition.sites[client]} if partition.sites else {}),
            **(dict(zip(classes, map(int, partition.counts[client]), strict=False)) if single else {}),
            **{split: len(indices[client]) for split, indices in partition.indices.items()},
        }
        for client in range(run.spec.clients)
    ]
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows])
