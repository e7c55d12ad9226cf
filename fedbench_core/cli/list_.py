"""`fedbench list KIND [PATTERN]`."""

import click

from fedbench_core.cli.known import known_entries
from fedbench_core.cli.output import echo, json_option, print_json, print_table

KINDS = {
    "methods": "method",
    "partitioners": "partitioner",
    "compressors": "compressor",
    "aggregators": "aggregator",
    "topologies": "topology",
    "local-updates": "local_update",
    "datasets": "dataset",
    "backbones": "backbone",
    "trackers": "tracker",
}


@click.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)), metavar="KIND")
@click.argument("pattern", default="")
@json_option
def command(kind: str, pattern: str, as_json: bool) -> None:
    """List the installed methods, datasets, backbones, parts or trackers.

    KIND is one of methods, partitioners, compressors, aggregators, topologies, local-updates, datasets, backbones,
    trackers.
    PATTERN may contain wildcards, in quotes: 'mobile*'.
    """
    entries = known_entries(KINDS[kind], pattern)
    if entries is None:
        from fedbench_core.cli.catalog import listed  # noqa: PLC0415  # imports torch: slow, and --help does not need it

        entries = listed(KINDS[kind], pattern, everything=as_json)
    if as_json:
        print_json(entries)
        return
    if entries:
        print_table([key.replace("_", " ") for key in entries[0]], [list(entry.values()) for entry in entries])
    if KINDS[kind] == "backbone" and not pattern:
        from fedbench_core.cli.catalog import unlisted  # noqa: PLC0415  # as above

        echo(f"\nand {unlisted()} timm architectures; to list some, add a pattern: fedbench list {kind} 'resnet*'")
