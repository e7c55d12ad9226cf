"""`fedbench partition`: who would hold which images."""

from pathlib import Path
from typing import Any

import click

from fedbench_core.cli.flags import data_flag, read_spec, spec_flags
from fedbench_core.cli.output import json_option, print_json, print_table


@click.command("partition")
@spec_flags
@data_flag
@json_option
def command(config: Path | None, data_root: Path | None, as_json: bool, **flags: Any) -> None:
    """How a run with these flags would deal out the images: clients by classes.

    Takes the flags of `fedbench run`; those that don't concern the data change nothing, and --method may be left out.
    """
    spec = read_spec(flags, config, method="local")
    from fedbench_core.federation.partition import deal  # noqa: PLC0415  # as above
    from fedbench_core.federation.resolved import resolve  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.runner import How, load  # noqa: PLC0415  # as above

    setting = resolve(spec)
    shares = deal(setting, load(setting, How(data_root=data_root), lambda line: click.echo(line, err=True)))
    classes = shares.splits.task.classes
    single = shares.splits.task.kind != "multi-label"
    rows = [
        {
            "client": client,
            **(dict(zip(classes, map(int, shares.counts[client]), strict=False)) if single else {}),
            **{split: len(indices[client]) for split, indices in shares.indices.items()},
        }
        for client in range(spec.clients)
    ]
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows])
