"""Flags that several commands share; those of `run` and `partition` are generated from the fields of `RunSpec`."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.known import check_names
from fedbench_core.federation.spec import RunSpec, read_config

Command = Callable[..., Any]


def spec_flags(command: Command, without: Collection[str] = ()) -> Command:
    """Add a flag for every field of RunSpec but some, and `--config`. RunSpec validates the values, not click."""
    for name, field in reversed(RunSpec.model_fields.items()):
        if name not in without:
            command = _flag(name, field)(command)
    config = click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings, or a record.json")
    return config(command)


def data_flag(command: Command) -> Command:
    """Add the flag for the folder of dataset files; it never changes a result."""
    return click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        envvar="FEDBENCH_DATA",
        help="folder of downloaded dataset files  [env: FEDBENCH_DATA]",
    )(command)


def how_flags(command: Command) -> Command:
    """Add the flags that decide where and how a run is computed; they never change a result."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option("--client-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help=_TIMEOUT),
        click.option("--checkpoint-every", type=click.IntRange(min=1), default=1, metavar="K", help=_CHECKPOINT),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="number of processes  [default: one per core, or per GPU with --device cuda]",
        ),
        click.option("--executor", type=click.Choice(EXECUTORS), default="processes", help=_EXECUTOR),
        click.option("--keep", type=click.Choice(KEEPS), help=_KEEP),
        ray_flags,
        data_flag,
    )
    for option in options:
        command = option(command)
    return command


def ray_flags(command: Command) -> Command:
    """Add the flags for the address of a Ray cluster and for its GPUs."""
    command = click.option("--gpus-per-client", type=click.FloatRange(min=0.0001), metavar="X", help=_GPUS)(command)
    return click.option("--ray-address", metavar="ADDRESS", help=_ADDRESS)(command)


EXECUTORS = ("serial", "processes", "ray")
KEEPS = ("auto", "models", "none")
_KEEP = "models to keep in the run folder; auto: those of up to 128 MB together  [default: auto]"
_GPUS = "GPUs per client on a Ray cluster; 0.25 lets four clients share a GPU  [default: 1]"
_ADDRESS = "HOST:PORT of a Ray cluster, or auto  [default: start a cluster on this machine for this run]"
_TIMEOUT = "stop and repeat a turn, an aggregation or a scoring that takes longer"
_CHECKPOINT = "rounds between checkpoints; a resumed run repeats at most this many  [default: 1]"
_EXECUTOR = "where clients are trained  [default: processes]"


def read_spec(flags: dict[str, Any], config: Path | None, **defaults: Any) -> RunSpec:
    """The spec from a config file; flags override its settings."""
    return RunSpec.of(given_settings(flags, config, **defaults))


def given_settings(flags: dict[str, Any], config: Path | None, **defaults: Any) -> dict[str, Any]:
    """The settings in a config file, overridden by flags.

    RequestError for a file or `--set` that can't be read, and for a name that is known not to exist.
    """
    given = {name: value for name, value in flags.items() if value not in (None, False, ())}
    base = {**defaults, **(read_config(config) if config else {})}
    if "epochs" in given or "steps" in given:
        base = {name: value for name, value in base.items() if name not in ("epochs", "steps")}
    base = _without_replaced(base, given)
    options = {**base.pop("set", {}), **dict(read_option(text) for text in given.pop("set", ()))}
    settings = {**base, **given, **({"set": options} if options else {})}
    check_names(settings)
    return settings


def read_seeds(text: str, flag: str = "--seeds") -> tuple[int, ...]:
    """`3` is 0, 1, 2; `0,7` is a list. RequestError for anything else, and for repeated seeds."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    most = len(numbers) == 1 and numbers[0] > MOST_SEEDS
    seeds = tuple(range(0 if most else numbers[0])) if len(numbers) == 1 else tuple(numbers)
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise RequestError(
            f"{flag} {text}: expected a number of seeds from 1 to {MOST_SEEDS}, or different seeds such as 0,1,2."
        )
    return seeds


MOST_SEEDS = 10_000
REPLACEABLE = ("partitioner", "aggregator", "compressor", "downlink", "topology", "dataset")
METHOD_PARTS = ("aggregator", "compressor", "downlink", "topology")
"""Parts that a method defines."""


def _without_replaced(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a config file without the options of parts, and the parts of a method, that flags replace."""
    replaced = {part for part in REPLACEABLE if part in given and given[part] != base.get(part)}
    if "method" in given and given["method"] != base.get("method"):
        replaced |= {*METHOD_PARTS, "local_update"}
        base = {name: value for name, value in base.items() if name not in METHOD_PARTS}
    options = {key: value for key, value in base.get("set", {}).items() if key.partition(".")[0] not in replaced}
    return {**base, "set": options}


def read_option(text: str) -> tuple[str, str]:
    """PART.OPTION and VALUE of a `--set` argument; RequestError if it has another form."""
    key, equals, value = text.partition("=")
    if not equals:
        raise RequestError(f"--set {text}: expected PART.OPTION=VALUE, such as partitioner.alpha=0.1.")
    return key, value


def _flag(name: str, field: Any) -> Callable[[Command], Command]:
    flag = f"--{name.replace('_', '-')}"
    words = field.description or ""
    if field.annotation is bool:
        return click.option(flag, name, is_flag=True, help=words)
    if name == "set":
        return click.option(flag, name, multiple=True, metavar="PART.OPTION=VALUE", help=f"{words}; repeatable")
    shown = "" if field.is_required() or field.default is None else f"  [default: {_text(field.default)}]"
    return click.option(flag, name, metavar=_metavar(field.annotation), help=words + shown)


def _text(default: Any) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _metavar(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "|".join(get_args(annotation))
    if origin is tuple:
        return "A,B,..."
    if annotation not in _METAVARS and get_args(annotation):  # Annotated[...], or one with None
        return _metavar(get_args(annotation)[0])
    return _METAVARS[annotation]


_METAVARS = {int: "N", float: "X", str: "NAME"}
