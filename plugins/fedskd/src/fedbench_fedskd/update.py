"""A turn of FedSKD: a client trains its resident and the visitor in its inbox, and sends the visitor on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Backbone,
    Client,
    LocalUpdate,
    LogUniform,
    Outputs,
    Payload,
    RequestError,
    RoundContext,
    Training,
    Update,
)
from fedbench_core.learning import Batch, ForwardPass, Side, fit, fit_pair, positions, similarity
from fedbench_fedskd.levels import Levels

RESIDENT = "resident"


@dataclass(frozen=True)
class FedSKD(Levels, LocalUpdate):
    """Each client keeps a resident and sends a traveler round the ring; resident and visitor distill each other.

    A payload is a whole model; its meta has the `owner` to whom it returns, and its `backbone`.
    """

    strength: Annotated[
        float, Field(ge=0, description="lambda, the weight of all similarity losses"), LogUniform(0.1, 10)
    ] = 1.0
    ramp: Annotated[bool, Field(description="lambda grows linearly over the first circle")] = True
    distil: Annotated[
        Literal["both", "resident", "visitor", "none"],
        Field(description="which models learn from the similarity losses"),
    ] = "both"
    warmup: Annotated[int, Field(ge=0, description="additional epochs of local training in the first turn")] = 2
    merge: Annotated[
        Literal["replace", "distil", "average"],
        Field(description="what the resident becomes when its traveler returns; distil: it learns from it only"),
    ] = "replace"
    train_visitor: Annotated[
        bool, Field(description="false: a visitor teaches the resident and is not trained itself; needs merge=distil")
    ] = True
    merge_at: Annotated[
        Literal["arrival", "departure"], Field(description="merge before or after the local training of that turn")
    ] = "departure"
    visitor_bn: Annotated[
        Literal["own", "home"],
        Field(description="running statistics of a traveler: its own, updated by each host; or those it started with"),
    ] = "own"
    score_visitors: Annotated[
        bool, Field(description="also score the model in each inbox, as role visitor; training is the same")
    ] = False

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """A note on the maps that are compared; RequestError if the backbone has none of at least 4 x 4 locations."""
        if not self.train_visitor and (self.merge != "distil" or self.distil == "visitor"):
            raise RequestError(
                f"A visitor that is not trained (local_update.train_visitor=false) returns as it left: "
                f"merge={self.merge} with distil={self.distil} would undo training, or train nothing. Use --set "
                "local_update.merge=distil --set local_update.distil=resident."
            )
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
        stages = "stages up to" if self.layers == "stages" else "stage"
        return (f"fedskd compares {net.name} at {stages} {last + 1} of {len(maps)}, a map of {shape}.",)

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the resident."""
        client.models[RESIDENT] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """One hop: train with the visitor and send it on. First turn: warm up and send a clone of the resident."""
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
        """The resident; with `score_visitors` also the model in the inbox, or the resident again if it is empty."""
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
        """Train both on this client's images; merge if the visitor is its own traveler."""
        if home and self.merge_at == "arrival" and self.merge != "distil":
            _merge(resident, visitor, self.merge)
            return self._alone(resident, client, ctx)
        ramp = min(1.0, client.turns / ctx.clients) if self.ramp else 1.0
        metrics = self._together(resident, visitor, client, ctx, self.strength * ramp)
        if home:
            _merge(resident, visitor, self.merge)
        return metrics

    def _together(
        self, resident: Backbone, visitor: Backbone, client: Client, ctx: RoundContext, strength: float
    ) -> dict[str, float]:
        """Train two models on the same batches, each on the task's loss plus `strength` times the similarity losses.

        The similarity losses are symmetric, so they are computed once, with gradients into both models: each gets the
        gradient of its own loss with the other model held fixed.
        """
        if not self.train_visitor:
            return self._taught(resident, visitor, client, ctx, strength)
        if not self._distils:
            own, guest = fit(resident, client.train, ctx), fit(visitor, client.train, ctx)
            return self._metrics(own["loss"], guest["loss"], {}, own["steps"] + guest["steps"])
        terms = partial(self._terms, strength)
        sides = (
            Side("resident", resident, _nothing if self.distil == "visitor" else terms),
            Side("visitor", visitor, terms if self.distil == "visitor" else _nothing),
        )
        means = fit_pair(*sides, client.train, ctx, joint=self.distil == "both")
        side = "visitor" if self.distil == "visitor" else "resident"
        similarities = {level: means[f"{side}_{level}"] for level in self.levels}
        return self._metrics(means["resident_task"], means["visitor_task"], similarities, 2 * means["steps"])

    def _taught(
        self, resident: Backbone, visitor: Backbone, client: Client, ctx: RoundContext, strength: float
    ) -> dict[str, float]:
        """Train the resident on the task's loss plus `strength` times the similarity losses; the visitor is frozen."""
        if not self._distils:
            means = fit(resident, client.train, ctx)
            return self._metrics(means["loss"], 0.0, {}, means["steps"])

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> dict[str, Tensor]:
            theirs, task = visitor.outputs(batch.images), ctx.task.loss(outputs.logits, batch.labels)
            fixed = ForwardPass(theirs, ctx.task.loss(theirs.logits, batch.labels))
            return {
                "loss": task,
                "visitor_loss": fixed.loss,
                **self._terms(strength, ForwardPass(outputs, task), fixed),
            }

        means = fit(resident, client.train, ctx, loss=loss, frozen=[visitor])
        return self._metrics(means["loss"], means["visitor_loss"], means, means["steps"])

    def _alone(self, resident: Backbone, client: Client, ctx: RoundContext) -> dict[str, float]:
        """Train the resident; the traveler is a clone of it, so their losses are equal."""
        means = fit(resident, client.train, ctx)
        return self._metrics(means["loss"], means["loss"], {}, means["steps"])

    def _metrics(
        self, loss: float, visitor_loss: float, similarities: Mapping[str, float], steps: float
    ) -> dict[str, float]:
        """The metrics of a turn, with the same names in every turn. steps: the sum over both models."""
        levels = self.levels if self._distils else ()
        added = {f"similarity_{level}": similarities.get(level, 0.0) for level in levels}
        return {"loss": loss, "visitor_loss": visitor_loss, **added, "steps": steps}

    def _terms(self, strength: float, own: ForwardPass, other: ForwardPass) -> Mapping[str, Tensor]:
        if len(own.outputs.logits) < similarity.LEAST_IMAGES:
            return dict.fromkeys(self.levels, own.loss.new_zeros(()))
        losses = self.compare(own.outputs.maps, other.outputs.maps)
        return {level: strength * loss for level, loss in losses.items()}

    def _warming(self, client: Client, ctx: RoundContext) -> Training:
        """The local budget of a first turn: the epochs of the warm-up plus the usual budget."""
        training = ctx.training
        if training.steps is None:
            return replace(training, epochs=training.epochs + self.warmup)
        epochs = replace(training, steps=None, epochs=self.warmup)
        steps = sum(1 for _ in positions(len(client.train), epochs, ctx.rng("warm-up")))
        return replace(training, steps=training.steps + steps)


def _nothing(_own: ForwardPass, _other: ForwardPass) -> Mapping[str, Tensor]:
    return {}


@torch.no_grad()
def _merge(resident: Backbone, traveler: Backbone, how: str) -> None:
    """Change the resident in place; of integers, such as BatchNorm's batch counter, it gets the larger."""
    if how == "distil":
        return
    theirs = traveler.state_dict()
    for name, tensor in resident.state_dict().items():
        if how == "replace":
            tensor.copy_(theirs[name])
        elif tensor.is_floating_point():
            tensor.lerp_(theirs[name], 0.5)
        else:
            torch.maximum(tensor, theirs[name], out=tensor)


@torch.no_grad()
def _restore_statistics(visitor: Backbone, received: Payload) -> None:
    """Reset the buffers (BatchNorm's running statistics) to the received values."""
    for name, buffer in visitor.named_buffers():
        if name in received.tensors:
            buffer.copy_(received.tensors[name])
