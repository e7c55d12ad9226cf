"""A spec's names made into parts that fit together, before anything is read or trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic_core import to_jsonable_python

from fedbench_core.api import (
    SERVER,
    Aggregator,
    Architecture,
    Compressor,
    Dataset,
    LocalUpdate,
    Method,
    Partitioner,
    RequestError,
    RoundContext,
    Task,
    Topology,
    unknown,
)
from fedbench_core.federation.blame import MisfitError, blamed
from fedbench_core.federation.plans import planned
from fedbench_core.federation.spec import RunSpec
from fedbench_core.models import TimmArchitecture, knows
from fedbench_core.registry import bind, read_options, registry

KINDS = {
    "partitioner": "partitioner",
    "local_update": "local_update",
    "aggregator": "aggregator",
    "compressor": "compressor",
    "downlink": "compressor",
    "topology": "topology",
    "dataset": "dataset",
    "backbone": "backbone",
}
"""Prefixes of options -> kind of part."""


@dataclass(frozen=True)
class ResolvedRun:
    """All parts of a run. `spec` is resolved: every part and option named, every backbone by its exact id."""

    spec: RunSpec
    method: Method
    dataset: Dataset
    partitioner: Partitioner
    local_update: LocalUpdate
    aggregator: Aggregator
    compressor: Compressor
    downlink: Compressor
    topology: Topology
    architectures: Mapping[str, Architecture]
    """By exact id, and by the names under which the local update builds further ones."""

    def backbone(self, client: int) -> str:
        """The backbone of a client: the list is dealt out in turn."""
        return self.spec.backbones[client % len(self.spec.backbones)]

    def blaming(self, part: str, *, refuses: bool = False) -> AbstractContextManager[None]:
        """`blamed` for a part of this run, by the name of its field: "local_update", "downlink"."""
        if part == "local_update":
            name = self.method.local_update
        else:
            name = str(getattr(self.spec, part) or self.spec.compressor).partition(":")[0]
        return blamed(KINDS[part], name, getattr(self, part), refuses=refuses)

    @property
    def trained(self) -> int:
        """How many clients train: one where the data are centralized."""
        return 1 if self.method.data == "centralized" else self.spec.clients


class _Options:
    """The options of a request: those of `--set`, over those of the method for parts that were not swapped."""

    def __init__(self, spec: RunSpec, method: Method) -> None:
        self.method = method
        self.given: dict[str, dict[str, Any]] = {}
        self.used: dict[str, Any] = {}
        for key, value in spec.set.items():
            prefix, _, option = key.partition(".")
            if prefix not in KINDS or not option:
                raise unknown("part", prefix, KINDS, f"Options are written PART.OPTION=VALUE; got {key!r}.")
            self.given.setdefault(prefix, {})[option] = value

    def part(self, prefix: str, name: str, own: str | None = None) -> Any:
        """The part `name`; the method's options hold if it is the method's `own`."""
        options = {**(self.method.options.get(prefix, {}) if name == own else {}), **self.given.pop(prefix, {})}
        checked = registry().check(KINDS[prefix], name, options)
        self.used |= {f"{prefix}.{option}": value for option, value in checked.items()}
        return registry().make(KINDS[prefix], name, checked)


def resolve(spec: RunSpec) -> ResolvedRun:
    """The parts of `spec`; RequestError for what doesn't exist, is out of range, or doesn't fit together.

    RunError for a topology that plans what cannot be.
    """
    setting = assemble(spec)
    check(setting)
    return setting


def assemble(spec: RunSpec) -> ResolvedRun:
    """The parts of `spec`, whether or not they fit together; RequestError for what doesn't exist or is out of range."""
    method = registry().method(spec.method)
    options = _Options(spec, method)
    names = {part: getattr(spec, part) or getattr(method, part) for part in ("aggregator", "compressor", "topology")}
    parts = {part: options.part(part, name, getattr(method, part)) for part, name in names.items()}
    parts["local_update"] = options.part("local_update", method.local_update, method.local_update)
    parts["partitioner"] = options.part("partitioner", spec.partitioner)
    names["downlink"] = _downlink(spec, method)
    parts["downlink"] = parts["compressor"]
    if names["downlink"] is not None:
        parts["downlink"] = options.part("downlink", names["downlink"], method.downlink)
    parts["dataset"] = _dataset(spec.dataset, options)
    dealt = _architectures(spec.backbones, spec, options)
    further = _architectures(parts["local_update"].builds, spec, options)
    options.given.pop("backbone", None)
    architectures = {a.name: a for a in (*dealt, *further)} | dict(
        zip(parts["local_update"].builds, further, strict=True)
    )
    if options.given:
        prefix = next(iter(options.given))
        raise RequestError(f"--set {prefix}.*: this run has no {prefix} of its own. It is the same as the compressor.")
    used = to_jsonable_python(dict(sorted(options.used.items())))
    resolved = spec.model_copy(update={**names, "backbones": tuple(a.name for a in dealt), "set": used})
    return ResolvedRun(resolved, method, architectures=architectures, **parts)


def _downlink(spec: RunSpec, method: Method) -> str | None:
    """The server's compressor; a swapped compressor takes the method's downlink with it."""
    swapped = spec.compressor not in (None, method.compressor)
    return spec.downlink or (None if swapped else method.downlink)


def _dataset(request: str, options: _Options) -> Dataset:
    name, colon, argument = request.partition(":")
    if colon:
        given = options.given.setdefault("dataset", {})
        if given.setdefault("path", argument) != argument:
            raise RequestError(f"--dataset {request} and --set dataset.path={given['path']} disagree. Give one.")
    part: Dataset = options.part("dataset", name)
    if colon:  # said once, in the dataset's name
        options.used.pop("dataset.path", None)
    return part


def _architectures(names: Sequence[str], spec: RunSpec, options: _Options) -> list[Architecture]:
    """One architecture per name: a plugin's, or else timm's; the options of prefix `backbone` hold for all."""
    given = {**options.given.get("backbone", {}), **({"pretrained": True} if spec.pretrained else {})}
    found: list[Architecture] = []
    for name in names:
        if "backbone" in registry().kinds(name):  # also one that two plugins claim, which is refused
            _refuse_shadow(name)
            checked = registry().check("backbone", name, given)
            found.append(registry().make("backbone", name, checked))
        else:
            factory = partial(TimmArchitecture, name=name)
            checked = bind(f"backbone {name!r}", "backbone", read_options(factory), given)
            found.append(factory(**checked))  # type: ignore[arg-type]  # checked against this very signature
        options.used |= {f"backbone.{option}": value for option, value in checked.items() if option != "pretrained"}
    return found


def _refuse_shadow(name: str) -> None:
    """A plugin must not take timm's place in the runs of others."""
    if knows(name):
        whose = registry().describe("backbone", name).distribution
        raise RequestError(
            f"backbone {name!r} is one of timm's, and {whose} claims the name too, so it says no more what is meant. "
            f"Uninstall {whose}, or give its backbone another name."
        )


def check(setting: ResolvedRun) -> None:
    """Refuse what cannot work, before the first round: RequestError for parts that don't fit together."""
    spec, method = setting.spec, setting.method
    dealt = sorted({setting.backbone(client) for client in range(spec.clients)})
    if len(dealt) > 1 and not method.mixed_backbones:
        able = [name for name in registry().names("method") if registry().method(name).mixed_backbones]
        raise RequestError(
            f"{spec.method} needs one backbone for all clients; got {', '.join(dealt)}. "
            f"Use --backbones {spec.backbones[0]}, or a method for mixed backbones: {', '.join(able)}."
        )
    if len(dealt) < len(set(spec.backbones)):
        raise RequestError(f"--backbones names {len(spec.backbones)} kinds for --clients {spec.clients}; give fewer.")
    if not method.partial_participation and (spec.fraction < 1 or spec.dropout > 0):
        raise RequestError(
            f"{spec.method} needs every client in every round (what one client misses is lost to it); "
            f"got --fraction {spec.fraction:g} --dropout {spec.dropout:g}. Leave both out."
        )
    if spec.device != "cpu" and not torch.cuda.is_available():
        raise RequestError(f"--device {spec.device}: torch finds no GPU here. Leave --device out to use the CPU.")
    _check_pinned(setting)
    _check_topology(setting)


def _check_pinned(setting: ResolvedRun) -> None:
    """Refuse to change what a method can't do without."""
    spec, method = setting.spec, setting.method
    for pin in method.pinned:
        part, _, option = pin.partition(".")
        own, now = getattr(method, part), getattr(spec, part)
        if option:
            if now != own:  # another part has options of its own
                continue
            options = registry().check(KINDS[part], own, method.options.get(part, {}))
            if option not in options:
                raise unknown(f"option of {part} {own!r}", option, options, f"The method {spec.method} pins it.")
            own = options[option]
            now = spec.set[pin]
        if now != own:
            raise RequestError(f"{spec.method} is {spec.method} only with {pin} {own}; got {now}. Leave it out.")


def _check_topology(setting: ResolvedRun) -> None:
    """Walk through one round on paper: places exist, and no place gets more messages than its aggregator takes."""
    spec, clients = setting.spec, setting.trained
    ctx = RoundContext(0, spec.rounds, 0, spec.seed, Task("multi-class", ("a", "b")), spec.training)
    with setting.blaming("topology"):
        for client in range(clients):
            if setting.topology.home(client) not in (SERVER, client):
                raise MisfitError(f"client {client}'s home is neither the server nor its own inbox.")
        steps = planned(setting.topology, range(clients), clients, ctx)
    for turns in steps:
        messages = Counter(place for turn in turns for place in turn.writes)
        crowded = [place for place, count in messages.items() if count > 1]
        if crowded and setting.aggregator.takes == "one":
            raise RequestError(
                f"aggregator {spec.aggregator} takes one message per place, but topology {spec.topology} brings "
                f"{messages[crowded[0]]} to {'the server' if crowded[0] == SERVER else f'inbox {crowded[0]}'}. "
                f"Use --aggregator mean, or another --topology."
            )
