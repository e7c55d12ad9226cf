"""The parts that a spec names, created and checked against each other before anything is read or trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property, partial
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
    ModuleFactory,
    Partitioner,
    RequestError,
    RoundContext,
    Task,
    Topology,
    unknown,
)
from fedbench_core.federation.blame import MisfitError, blamed, expect
from fedbench_core.federation.calls import node_name
from fedbench_core.federation.plans import planned
from fedbench_core.federation.spec import STEPS, RunSpec
from fedbench_core.models import TimmArchitecture, knows
from fedbench_core.registry import Option, bind, read_options, registry

KINDS = {
    "partitioner": "partitioner",
    "local_update": "local_update",
    "aggregator": "aggregator",
    "compressor": "compressor",
    "downlink": "compressor",
    "topology": "topology",
    "dataset": "dataset",
    "public": "dataset",
    "backbone": "backbone",
}
"""Prefixes of options -> kind of part."""


@dataclass(frozen=True)
class ResolvedRun:
    """All parts of a run. `spec` is resolved: every part and option is named, every backbone by its exact id."""

    spec: RunSpec
    method: Method
    dataset: Dataset
    public: Dataset | None
    """Where the public images come from, if they are another dataset's."""
    partitioner: Partitioner
    local_update: LocalUpdate
    aggregator: Aggregator
    compressor: Compressor
    downlink: Compressor
    topology: Topology
    architectures: Mapping[str, Architecture]
    """By exact id, and by the names under which the local update builds further ones."""

    def backbone(self, client: int) -> str:
        """The backbone of a client; clients take the listed ones in turn."""
        return self.spec.backbones[client % len(self.spec.backbones)]

    @cached_property
    def backbones(self) -> tuple[str, ...]:
        """The backbones of the clients that train, by client."""
        return tuple(self.backbone(client) for client in range(self.trained))

    @property
    def period(self) -> int:
        """How many rounds the scores are means over: the topology's period, 1 in a run that is shorter than that."""
        return self.declared_period if self.declared_period <= self.spec.rounds else 1

    @cached_property
    def declared_period(self) -> int:
        """The number of rounds after which the topology's schedule repeats."""
        return self.topology.period(self.trained)

    @property
    def clients(self) -> int:
        """The number of clients that are not held out."""
        return self.spec.clients - self.spec.held_out

    @property
    def trained(self) -> int:
        """The number of clients that train: one in centralized training."""
        return 1 if self.method.data == "centralized" else self.clients

    @property
    def modules(self) -> Mapping[str, ModuleFactory]:
        """The modules that the local update and the aggregator declare."""
        return {**self.local_update.modules, **self.aggregator.modules}

    def blaming(self, part: str, *, refuses: bool = False) -> AbstractContextManager[None]:
        """`blamed` for a part of this run, by the name of its field: "local_update", "downlink"."""
        if part == "local_update":
            name = self.method.local_update
        else:
            name = str(getattr(self.spec, part) or self.spec.compressor).partition(":")[0]
        return blamed(KINDS[part], name, getattr(self, part), refuses=refuses)


class _Options:
    """The options of a request: those of `--set`, over the method's own for parts that were not replaced."""

    def __init__(self, spec: RunSpec, method: Method) -> None:
        self.method = method
        self.given: dict[str, dict[str, Any]] = {}
        self.used: dict[str, Any] = {}
        for key, value in spec.set.items():
            prefix, _, option = key.partition(".")
            if prefix not in KINDS or not option:
                raise _misplaced(key, spec, method)
            self.given.setdefault(prefix, {})[option] = value

    def part(self, prefix: str, name: str, own: str | None = None) -> Any:
        """The part `name`; the method's options apply if it is the method's `own`."""
        options = {**(self.method.options.get(prefix, {}) if name == own else {}), **self.given.pop(prefix, {})}
        checked = registry().check(KINDS[prefix], name, options)
        self.used |= {f"{prefix}.{option}": value for option, value in checked.items()}
        return registry().make(KINDS[prefix], name, checked)


def _misplaced(key: str, spec: RunSpec, method: Method) -> RequestError:
    """The error for an option that is not written as that of a part, with the part of this run that has it."""
    own = [one for one in _every_option(spec, method) if one.partition(".")[2] == key]
    if own:
        return RequestError(
            f"--set {key}: name the part as well, --set {' or '.join(f'{one}={spec.set[key]}' for one in own)}."
        )
    prefix, dot, _ = key.partition(".")
    hint = f"Options are written PART.OPTION=VALUE; got {key!r}."
    return unknown("part", prefix, KINDS, hint) if dot else unknown("option", key, _every_option(spec, method), hint)


def _every_option(spec: RunSpec, method: Method) -> list[str]:
    """The options of all parts of a run, as PART.OPTION."""
    names = {part: getattr(spec, part, None) or getattr(method, part, None) for part in KINDS if part != "public"}
    found = [f"backbone.{option.name}" for option in read_options(partial(TimmArchitecture, name=""))]
    for part, given in names.items():
        name = str(given).partition(":")[0]  # of a dataset, the path follows
        if name in registry().names(KINDS[part]):
            found += [f"{part}.{option.name}" for option in registry().options(KINDS[part], name)]
    return found


def resolve(spec: RunSpec) -> ResolvedRun:
    """The parts of `spec`; RequestError for what doesn't exist, is out of range, or doesn't fit together.

    RunError for a topology whose plan can't be carried out.
    """
    run = assemble(spec)
    check(run)
    return run


def assemble(spec: RunSpec) -> ResolvedRun:
    """The parts of `spec`, whether or not they fit together; RequestError for what doesn't exist or is out of range."""
    method = registry().method(spec.method)
    spec = _with_requirements(spec, method)
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
    parts["public"] = None if spec.public is None or spec.public_fraction else _dataset(spec.public, options, "public")
    own = _architectures(spec.backbones, spec, options)
    further = _architectures(parts["local_update"].backbones, spec, options)
    options.given.pop("backbone", None)
    by_request = dict(zip(parts["local_update"].backbones, further, strict=True))
    architectures = {a.name: a for a in (*own, *further)} | by_request
    if options.given:
        prefix = next(iter(options.given))
        raise RequestError(f"--set {prefix}.*: this run has no {prefix} of its own. Leave it out.")
    used = to_jsonable_python(dict(sorted(options.used.items())))
    resolved = spec.model_copy(update={**names, "lr": spec.rate, "backbones": tuple(a.name for a in own), "set": used})
    return ResolvedRun(resolved, method, architectures=architectures, **parts)


def _with_requirements(spec: RunSpec, method: Method) -> RunSpec:
    """The spec with the run settings that the method needs; RequestError where it was given others."""
    values = spec.model_dump()
    changed = {name: value for name, value in method.requires.items() if values.get(name) != value}
    if not changed:
        return spec
    implied = {"steps"} if spec.steps == STEPS else set()
    given = {name for name in spec.model_fields_set - implied if values[name] is not None}
    replaced = {"epochs", "steps"} if changed.keys() & {"epochs", "steps"} else set()
    for name in sorted(given & (changed.keys() | replaced)):
        flag = f"--{name.replace('_', '-')}"
        needs = ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in changed.items())
        raise RequestError(f"{spec.method} needs {needs}; got {flag} {values[name]}. Leave {flag} out.")
    budget = dict.fromkeys(replaced)
    return RunSpec.of({**values, **budget, **changed})


def _downlink(spec: RunSpec, method: Method) -> str | None:
    """The server's compressor; where the clients' is replaced, the method's own downlink lapses."""
    swapped = spec.compressor not in (None, method.compressor)
    return spec.downlink or (None if swapped else method.downlink)


def _dataset(request: str, options: _Options, prefix: str = "dataset") -> Dataset:
    name, colon, argument = request.partition(":")
    if colon:
        given = options.given.setdefault(prefix, {})
        if given.setdefault("path", argument) != argument:
            raise RequestError(f"--{prefix} {request} and --set {prefix}.path={given['path']} disagree. Give one.")
    part: Dataset = options.part(prefix, name)
    if colon:  # the path is part of the dataset's name
        options.used.pop(f"{prefix}.path", None)
    return part


def _architectures(names: Sequence[str], spec: RunSpec, options: _Options) -> list[Architecture]:
    """One architecture per name: a plugin's, or else timm's; the options of prefix `backbone` hold for all."""
    given = {**options.given.get("backbone", {}), **({"pretrained": True} if spec.pretrained else {})}
    found: list[Architecture] = []
    for name in names:
        made, checked = architecture(name, given)
        found.append(made)
        options.used |= {f"backbone.{option}": value for option, value in checked.items() if option != "pretrained"}
    return found


def architecture(name: str, given: Mapping[str, Any]) -> tuple[Architecture, dict[str, object]]:
    """A plugin's architecture, or else timm's, with its options; RequestError for what doesn't exist."""
    if "backbone" in registry().kinds(name):  # also one that two plugins claim, which is refused
        _refuse_shadow(name)
        checked = registry().check("backbone", name, given)
        return registry().make("backbone", name, checked), checked
    checked = bind(f"backbone {name!r}", "backbone", _timm_options(), given)
    return TimmArchitecture(name, **checked), checked  # type: ignore[arg-type]  # checked against this very signature


@cache
def _timm_options() -> tuple[Option, ...]:
    """The same for all backbones of timm; cached, because a suite asks for them thousands of times."""
    return read_options(partial(TimmArchitecture, name=""))


def architecture_of_weights(name: str, given: Mapping[str, Any]) -> Architecture:
    """The architecture of a network whose weights are at hand: without pretrained ones, and by its exact id.

    given: options of several architectures; those that this one doesn't have are left out.
    """
    own = "backbone" in registry().kinds(name)
    known = registry().options("backbone", name) if own else _timm_options()
    options = {option.name: given[option.name] for option in known if option.name in given}
    return architecture(name if own else name.partition(".")[0], options)[0]


def _refuse_shadow(name: str) -> None:
    """A plugin must not replace a backbone of timm's in the runs of others."""
    if knows(name):
        whose = registry().describe("backbone", name).distribution
        raise RequestError(
            f"backbone {name!r} is one of timm's, and {whose} registers the same name, so the name is ambiguous. "
            f"Uninstall {whose}, or give its backbone another name."
        )


def check(run: ResolvedRun) -> None:
    """RequestError for parts that don't fit together, before the first round."""
    _check_hold_out(run)
    _check_backbones(run)
    _check_participation(run)
    _check_public(run)
    _check_device(run.spec)
    _check_pinned(run)
    _check_modules(run)
    _check_topology(run)


def _check_hold_out(run: ResolvedRun) -> None:
    spec = run.spec
    if spec.hold_out_sites and run.partitioner.by != "sites":
        raise RequestError(
            f"--hold-out-sites {spec.hold_out_sites} is for clients that are sites; partitioner {spec.partitioner} "
            f"mixes them. Add --partitioner sites, or use --hold-out-clients {spec.hold_out_sites}."
        )
    if spec.held_out and spec.held_out >= spec.clients:
        what = "sites" if spec.hold_out_sites else "clients"
        raise RequestError(
            f"--hold-out-{what} {spec.held_out} of {spec.clients} {what} leaves none to train. "
            f"Hold out at most {spec.clients - 1}."
        )


def _check_backbones(run: ResolvedRun) -> None:
    spec = run.spec
    used = sorted({run.backbone(client) for client in range(run.clients)})
    if len(used) > 1 and not run.method.mixed_backbones:
        able = [name for name in registry().names("method") if registry().method(name).mixed_backbones]
        raise RequestError(
            f"{spec.method} needs one backbone for all clients; got {', '.join(used)}. "
            f"Use --backbones {spec.backbones[0]}, or a method for mixed backbones: {', '.join(able)}."
        )
    if len(used) < len(set(spec.backbones)):
        raise RequestError(f"--backbones lists {len(spec.backbones)} for {run.clients} clients that train; list fewer.")


def _check_participation(run: ResolvedRun) -> None:
    spec = run.spec
    if not run.method.partial_participation and (spec.fraction < 1 or spec.dropout > 0):
        raise RequestError(
            f"{spec.method} needs every client in every round; "
            f"got --fraction {spec.fraction:g} --dropout {spec.dropout:g}. Leave both out."
        )


def _check_public(run: ResolvedRun) -> None:
    if run.method.uses_public and run.spec.public is None:
        raise RequestError(
            f"{run.spec.method} needs public images. Add --public 0.1 (that fraction of the training images), or "
            "--public DATASET."
        )


def _check_device(spec: RunSpec) -> None:
    if spec.device != "cpu" and not torch.cuda.is_available():
        raise RequestError(f"--device {spec.device}: torch finds no GPU here. Leave --device out to use the CPU.")


def _check_pinned(run: ResolvedRun) -> None:
    """Refuse to replace a part or an option that defines the method."""
    spec, method = run.spec, run.method
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
            raise RequestError(f"{spec.method} is defined with {pin} {own}; got {now}. Leave it out.")


def _check_modules(run: ResolvedRun) -> None:
    both = sorted(run.local_update.modules.keys() & run.aggregator.modules.keys())
    if both:
        raise RequestError(
            f"local update {run.method.local_update} and aggregator {run.spec.aggregator} both declare a module "
            f"{both[0]!r}. Use another --aggregator, or rename one of the modules."
        )


def _check_topology(run: ResolvedRun) -> None:
    """Plan one round without running it: nodes exist, and no node receives more messages than its aggregator takes."""
    spec, clients = run.spec, run.trained
    task = Task("multi-class", ("a", "b"))
    ctx = RoundContext(0, spec.rounds, 0, spec.seed, task, spec.training, backbones=run.backbones)
    with run.blaming("topology"):
        for client in range(clients):
            if run.topology.receives_from(client) not in (SERVER, client):
                raise MisfitError(f"client {client} receives from neither the server nor its own inbox.")
        phases = planned(run.topology, range(clients), clients, ctx)
        expect(run.declared_period, int, "its period")
        if run.declared_period < 1:
            raise MisfitError(f"its period is {run.declared_period} rounds; expected at least 1.")
    for phase in phases:
        messages = Counter(node for turn in phase.turns for node in turn.sends_to)
        crowded = [node for node, count in messages.items() if count > 1]
        if crowded and run.aggregator.takes == "one":
            raise RequestError(
                f"aggregator {spec.aggregator} takes one message per node, but topology {spec.topology} sends "
                f"{messages[crowded[0]]} to {node_name(crowded[0])}. Use --aggregator mean, or another --topology."
            )
