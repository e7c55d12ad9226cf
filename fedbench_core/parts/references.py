"""Reference methods: local training, in which nothing travels, and centralized training on all images."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from fedbench_core.api import Client, LocalUpdate, Method, Payload, RoundContext, Update
from fedbench_core.learning import fit


@dataclass(frozen=True)
class Local(LocalUpdate):
    """Train the client's own model on its own images and send nothing."""

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the model that the client keeps."""
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Continue to train the model."""
        metrics = fit(client.models["model"], client.train, ctx)
        return Update(None, len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The model."""
        return {"model": client.models["model"]}


LOCAL_UPDATES = {"local": Local}
METHODS = {
    "local": Method(
        local_update="local",
        mixed_backbones=True,
        summary="Every client trains alone on its own images; nothing is sent.",
    ),
    "centralized": Method(
        local_update="local",
        data="centralized",
        summary="One model is trained on the images of all clients in one place.",
    ),
}
