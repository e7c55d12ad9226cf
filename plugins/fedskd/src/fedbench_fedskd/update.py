"""What a host does with its own model and with the one that is visiting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import Backbone, Client, LocalUpdate, Payload, RequestError, RoundContext, Training, Update
from fedbench_core.learning import ForwardPass, Side, fit, fit_pair, positions, similarity
from fedbench_fedskd.levels import Levels

RESIDENT = "resident"


@dataclass(frozen=True)
class FedSKD(Levels, LocalUpdate):
    """A resident stays with each client; a traveller goes round the ring, and both learn from each other at each host.

    A payload is a whole model with the `owner` to whom it returns and its `backbone`.
    """

    strength: Annotated[float, Field(ge=0, description="lambda, of all similarity losses")] = 1.0
    ramp: Annotated[bool, Field(description="lambda grows in a line over the first circle")] = True
    distil: Annotated[
        Literal["both", "resident", "visitor", "none"], Field(description="who learns from the other's relations")
    ] = "both"
    warmup: Annotated[int, Field(ge=0, description="epochs that a client trains alone, at its first turn")] = 2
    merge: Annotated[
        Literal["distil", "replace", "average"],
        Field(description="what a resident does when its traveller comes home: distil, become it, or average with it"),
    ] = "average"
    merge_at: Annotated[
        Literal["arrival", "departure"], Field(description="merge before or after the local training of that turn")
    ] = "departure"
    visitor_bn: Annotated[
        Literal["own", "home"],
        Field(description="running statistics of a traveller: its own, of all hosts; or as they left home"),
    ] = "own"
    score_visitors: Annotated[
        bool, Field(description="also score what lies on each inbox, as the role visitor; changes no training")
    ] = False

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """On which maps similarity is compared; RequestError if this backbone has none that can be."""
        if not self._distils:
            return ()
        net = ctx.build(client.backbone).eval()
        with torch.no_grad():
            maps = net.outputs(client.train.tensors()[0]).maps
        try:
            self.compare(maps, maps)
        except RequestError as error:
            raise RequestError(f"fedskd cannot compare {net.name}: {error}") from error
        last = similarity.deepest(maps)
        shape = " x ".join(map(str, maps[last].shape[1:]))
        up_to = "stages up to " if self.layers == "stages" else "stage "
        return (f"fedskd compares {net.name} at {up_to}{last + 1} of {len(maps)}, a map of {shape}.",)

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Make the resident."""
        client.models[RESIDENT] = ctx.build(client.backbone)
        client.memory["hops"] = 0

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """One hop: host the model that lies on the inbox, and send it on. The first time, warm up and send one's own."""
        resident = client.models[RESIDENT]
        visitor = ctx.build(client.backbone if received is None else received.meta["backbone"])
        owner = client.id if received is None else int(received.meta["owner"])
        if received is None:
            metrics = self._alone(resident, client, replace(ctx, training=self._warming(client, ctx)))
        else:
            received.load_into(visitor)
            metrics = self._host(resident, visitor, client, ctx, home=owner == client.id)
        if owner == client.id:
            visitor.load_state_dict(resident.state_dict())
        elif self.visitor_bn == "home" and received is not None:
            _restore_statistics(visitor, received)
        payload = Payload.of(visitor, meta={"owner": str(owner), "backbone": visitor.name})
        return Update(payload, len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The resident; with `score_visitors` also what lies on the inbox, or the resident where nothing does."""
        resident = client.models[RESIDENT]
        if not self.score_visitors:
            return {RESIDENT: resident}
        if received is None:
            return {RESIDENT: resident, "visitor": resident}
        visitor = ctx.build(received.meta["backbone"])
        received.load_into(visitor)
        return {RESIDENT: resident, "visitor": visitor}

    @property
    def _distils(self) -> bool:
        return bool(self.distil != "none" and self.strength and self.levels)

    def _host(
        self, resident: Backbone, visitor: Backbone, client: Client, ctx: RoundContext, *, home: bool
    ) -> dict[str, float]:
        """Train both on the host's images; at home, merge."""
        hops = client.memory["hops"] = _count(client) + 1
        if home and self.merge_at == "arrival" and self.merge != "distil":
            _merge(resident, visitor, self.merge)
            return self._alone(resident, client, ctx)
        share = min(1.0, hops / ctx.clients) if self.ramp else 1.0
        metrics = self._together(resident, visitor, client, ctx, self.strength * share)
        if home:
            _merge(resident, visitor, self.merge)
        return metrics

    def _together(
        self, resident: Backbone, visitor: Backbone, client: Client, ctx: RoundContext, strength: float
    ) -> dict[str, float]:
        """Train two models on the same batches, each on the task's loss plus `strength` times the similarity losses.

        The similarity losses are symmetric, so one value with gradients into both serves both: the gradient that
        reaches either is that of its own loss with the other held fixed.
        """
        if not self._distils:
            alone, guest = fit(resident, client.train, ctx), fit(visitor, client.train, ctx)
            return self._told(alone["loss"], guest["loss"], {}, alone["steps"] + guest["steps"])
        terms = partial(self._terms, strength)
        sides = (
            Side("resident", resident, _nothing if self.distil == "visitor" else terms),
            Side("visitor", visitor, terms if self.distil == "visitor" else _nothing),
        )
        told = fit_pair(*sides, client.train, ctx, joint=self.distil == "both")
        side = "visitor" if self.distil == "visitor" else "resident"
        similar = {level: told[f"{side}_{level}"] for level in self.levels}
        return self._told(told["resident_task"], told["visitor_task"], similar, 2 * told["steps"])

    def _alone(self, resident: Backbone, client: Client, ctx: RoundContext) -> dict[str, float]:
        """Train the resident; its twin, the traveller, would take the very same steps."""
        told = fit(resident, client.train, ctx)
        return self._told(told["loss"], told["loss"], {}, told["steps"])

    def _told(self, loss: float, visitor: float, similar: Mapping[str, float], steps: float) -> dict[str, float]:
        """The metrics of a turn: the same names in every one. steps: those of both models, as both cost arithmetic."""
        levels = self.levels if self._distils else ()
        added = {f"similarity_{level}": similar.get(level, 0.0) for level in levels}
        return {"loss": loss, "visitor_loss": visitor, **added, "steps": steps}

    def _terms(self, strength: float, own: ForwardPass, other: ForwardPass) -> Mapping[str, Tensor]:
        if len(own.outputs.logits) < similarity.LEAST_IMAGES:
            return dict.fromkeys(self.levels, own.loss.new_zeros(()))
        compared = self.compare(own.outputs.maps, other.outputs.maps)
        return {level: strength * loss for level, loss in compared.items()}

    def _warming(self, client: Client, ctx: RoundContext) -> Training:
        """The local budget of a first turn: the warm-up's epochs, then the usual."""
        training = ctx.training
        if training.steps is None:
            return replace(training, epochs=training.epochs + self.warmup)
        epochs = replace(training, steps=None, epochs=self.warmup)
        warming = sum(1 for _ in positions(len(client.train), epochs, ctx.rng("warm-up")))
        return replace(training, steps=training.steps + warming)


def _nothing(_own: ForwardPass, _other: ForwardPass) -> Mapping[str, Tensor]:
    return {}


def _count(client: Client) -> int:
    hops = client.memory["hops"]
    if not isinstance(hops, int):
        raise TypeError(type(hops))
    return hops


@torch.no_grad()
def _merge(resident: Backbone, traveller: Backbone, how: str) -> None:
    """Change the resident in place; integers, such as BatchNorm's batch counter, become the larger."""
    if how == "distil":
        return
    theirs = traveller.state_dict()
    for name, tensor in resident.state_dict().items():
        if how == "replace":
            tensor.copy_(theirs[name])
        elif tensor.is_floating_point():
            tensor.lerp_(theirs[name], 0.5)
        else:
            torch.maximum(tensor, theirs[name], out=tensor)


@torch.no_grad()
def _restore_statistics(visitor: Backbone, received: Payload) -> None:
    """Give the buffers (BatchNorm's running statistics) the values that were received."""
    for name, buffer in visitor.named_buffers():
        if name in received.tensors:
            buffer.copy_(received.tensors[name])
