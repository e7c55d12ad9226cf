"""The method `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from fedbench_core.api import Client, LocalUpdate, Method, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import fit, load_global

api_version = 1


@dataclass(frozen=True)
class Example(LocalUpdate):
    """Train a model that stays at home beside a model that is shared."""

    # Options go here, as fields: `strength: Annotated[float, Field(ge=0, description="of what")] = 0.1` (pydantic's
    # Field), set by `--set local_update.strength=0.2`.

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """What the client keeps from turn to turn, in `client.models` and `client.memory`."""
        client.models["own"] = ctx.build(client.backbone, role="own")

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """One turn. `received` is None until something has been said."""
        own, shared = client.models["own"], load_global(received, client, ctx)
        # Your idea goes here. To let the two learn from each other, see fedbench_core.learning.fit_pair.
        fit(own, client, ctx)
        metrics = fit(shared, client, ctx)
        return Update(Payload.of(shared), weight=len(client.train), metrics=metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """What this client could deploy now; the first is what it would."""
        return {"own": client.models["own"], "shared": load_global(received, client, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """What clients do on a turn."""
    return {"example": Example}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method: its parts by name, each of which can be swapped on the command line."""
    method = Method(
        local_update="example",
        aggregator="mean",
        compressor="dense",
        topology="star",
        summary="Every client trains a model of its own beside one that the server averages.",
    )
    return {"example": method}
