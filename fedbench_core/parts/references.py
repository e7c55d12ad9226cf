"""Reference methods: the floor (nothing travels) and the ceiling (all data in one place)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from fedbench_core.api import Client, LocalUpdate, Method, Payload, RoundContext, Update
from fedbench_core.learning import fit


@dataclass(frozen=True)
class Local(LocalUpdate):
    """Train one's own model on one's own images and say nothing."""

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Make the model that the client keeps."""
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train the kept model further."""
        metrics = fit(client.models["model"], client, ctx)
        return Update(None, weight=len(client.train), metrics=metrics)

    def predictors(
        self,
        client: Client,
        received: Payload | None,
        ctx: RoundContext,
    ) -> Mapping[str, nn.Module]:
        """The kept model."""
        return {"model": client.models["model"]}


LOCAL_UPDATES = {"local": Local}
METHODS = {
    "local": Method(
        local_update="local",
        mixed_backbones=True,
        summary="Every client trains alone and nothing travels: the floor that federation must beat.",
    ),
    "centralized": Method(
        local_update="local",
        data="centralized",
        summary="One model trained on all clients' images in one place: the ceiling.",
    ),
}
