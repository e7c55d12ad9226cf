"""`fedbench partition`: the images of each client."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.cli.flags import data_flag, read_spec, spec_flags
from fedbench_core.cli.output import echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from fedbench_core.federation.partition import HeldOut, Partition


@click.command("partition")
@spec_flags
@data_flag
@json_option
def command(config: Path | None, data_root: Path | None, as_json: bool, **flags: Any) -> None:
    """Show the number of images of each class that each client gets.

    Takes the flags of `fedbench run`. Flags that don't concern the data have no effect, and --method is optional.
    Clients that are held out come last.
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
            **({"held out": held_out} if run.spec.held_out else {}),
            **({"site": group.sites[at]} if group.sites else {}),
            **(dict(zip(classes, map(int, group.counts[at]), strict=False)) if single else {}),
            **{split: len(indices[at]) for split, indices in group.indices.items()},
        }
        for client, (group, at, held_out) in enumerate(_clients(partition))
    ]
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows])


def _clients(partition: "Partition") -> "Iterator[tuple[Partition | HeldOut, int, bool]]":
    """For each client the group that it belongs to, its number there, and whether it is held out."""
    yield from ((partition, at, False) for at in range(len(partition.counts)))
    if partition.held_out is not None:
        yield from ((partition.held_out, at, True) for at in range(len(partition.held_out.counts)))
