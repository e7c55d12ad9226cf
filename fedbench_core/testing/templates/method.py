"""The method `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from fedbench_core.api import Client, LocalUpdate, Method, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import fit, load_global

api_version = 2


@dataclass(frozen=True)
class Example(LocalUpdate):
    """Train a private model and a shared model."""

    # Options are fields: `strength: Annotated[float, Field(ge=0, description="of what")] = 0.1` (pydantic's Field), set
    # with `--set local_update.strength=0.2`.

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create what the client keeps between turns, in `client.models` and `client.memory`."""
        client.models["private"] = ctx.build(client.backbone, role="private")

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train. `received` is None as long as nothing was published."""
        shared = load_global(received, client.backbone, ctx)
        # Your idea goes here. For two models that learn from each other see fedbench_core.learning.fit_pair.
        fit(client.models["private"], client.train, ctx)
        metrics = fit(shared, client.train, ctx)
        return Update(Payload.of(shared), len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The client's own model, which is the headline score."""
        return {"private": client.models["private"]}

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The model that all clients with this backbone have in common."""
        return {"shared": load_global(received, backbone, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """What clients do in their turns."""
    return {"example": Example}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method: its parts by name, each of which can be replaced on the command line."""
    method = Method(
        local_update="example",
        aggregator="mean",
        compressor="dense",
        topology="star",
        summary="Every client trains a private model, and a shared one that the server averages.",
    )
    return {"example": method}
