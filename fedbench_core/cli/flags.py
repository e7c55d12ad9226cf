"""The flags that `run` and `partition` share: one for each setting of a run, read off its fields."""

from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.spec import RunSpec, read_config

Command = Callable[..., Any]


def spec_flags(command: Command) -> Command:
    """Add a flag for every setting of a RunSpec, and `--config`; values are checked by the spec, not by click."""
    for name, field in reversed(RunSpec.model_fields.items()):
        command = _flag(name, field)(command)
    config = click.option("--config", type=click.Path(path_type=Path), help="a TOML file of settings, or a record.json")
    return config(command)


def data_flag(command: Command) -> Command:
    """Add the flag that says where dataset files are; it never changes a result."""
    return click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        envvar="FEDBENCH_DATA",
        help="folder with dataset files already there  [env: FEDBENCH_DATA]",
    )(command)


def how_flags(command: Command) -> Command:
    """Add the flags that say with what a run is computed; they never change a result."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option("--client-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help=_TIMEOUT),
        click.option("--checkpoint-every", type=click.IntRange(min=1), default=1, metavar="K", help=_CHECKPOINT),
        click.option("--workers", type=click.IntRange(min=1), metavar="N", help="processes  [default: all cores]"),
        click.option("--executor", type=click.Choice(EXECUTORS), default="processes", help=_EXECUTOR),
        ray_flags,
        data_flag,
    )
    for option in options:
        command = option(command)
    return command


def ray_flags(command: Command) -> Command:
    """Add the flags that say which Ray cluster computes, and with how much of its GPUs."""
    command = click.option("--gpus-per-client", type=click.FloatRange(min=0.0001), metavar="X", help=_GPUS)(command)
    return click.option("--ray-address", metavar="ADDRESS", help=_ADDRESS)(command)


EXECUTORS = ("serial", "processes", "ray")
_GPUS = "how much of a GPU one turn takes on a Ray cluster  [default: 1]"
_ADDRESS = "HOST:PORT of a Ray cluster, or auto  [default: one on this machine, for as long as this runs]"
_TIMEOUT = "end and repeat a turn that takes longer"
_CHECKPOINT = "rounds between commits: at most so many are redone after a kill  [default: 1]"
_EXECUTOR = "where turns are computed  [default: processes]"


def read_spec(flags: dict[str, Any], config: Path | None, **defaults: Any) -> RunSpec:
    """The spec that a config file and, over it, the flags ask for."""
    given = {name: value for name, value in flags.items() if value not in (None, False, ())}
    base = {**defaults, **(read_config(config) if config else {})}
    if "epochs" in given or "steps" in given:
        base = {name: value for name, value in base.items() if name not in ("epochs", "steps")}
    base = _without_lapsed(base, given)
    options = {**base.pop("set", {}), **dict(read_option(text) for text in given.pop("set", ()))}
    return RunSpec.of({**base, **given, **({"set": options} if options else {})})


SWAPPED = ("partitioner", "aggregator", "compressor", "downlink", "topology", "dataset")
OWN = ("aggregator", "compressor", "downlink", "topology")
"""Parts that come with a method."""


def _without_lapsed(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a config file less what lapses: options of a part, and parts of a method, that is swapped."""
    swapped = {part for part in SWAPPED if part in given and given[part] != base.get(part)}
    if "method" in given and given["method"] != base.get("method"):
        swapped |= {*OWN, "local_update"}
        base = {name: value for name, value in base.items() if name not in OWN}
    options = {key: value for key, value in base.get("set", {}).items() if key.partition(".")[0] not in swapped}
    return {**base, "set": options}


def read_option(text: str) -> tuple[str, str]:
    """PART.OPTION and VALUE of what `--set` was given; RequestError where it is not of that form."""
    key, equals, value = text.partition("=")
    if not equals:
        raise RequestError(f"--set {text}: expected PART.OPTION=VALUE, for instance partitioner.alpha=0.1.")
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
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return _metavar(get_args(annotation)[0])
    return {int: "N", float: "X", str: "NAME"}.get(annotation, "A,B,..." if get_origin(annotation) is tuple else "N")
