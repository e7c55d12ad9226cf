"""What does not fit together in a run, found before the first round."""

from collections import Counter

import torch

from fedbench_core.api import SERVER, RequestError, RoundContext, Task, unknown
from fedbench_core.federation.blame import MisfitError, expect
from fedbench_core.federation.calls import node_name
from fedbench_core.federation.plans import planned
from fedbench_core.federation.resolved import KINDS, ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.registry import registry


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
