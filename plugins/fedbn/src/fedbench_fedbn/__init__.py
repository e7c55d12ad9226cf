"""FedBN (Li et al., ICLR 2021): FedAvg whose clients keep their batch normalization; and SiloBN (Andreux et al.)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from fedbench_core.api import (
    Backbone,
    Client,
    Control,
    LocalUpdate,
    Method,
    Payload,
    RequestError,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import fit, merged

PAPER = "Li et al., FedBN: Federated Learning on Non-IID Features via Local Batch Normalization, ICLR 2021"
MODEL = "model"
OTHERS = (_InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class FedBN(LocalUpdate):
    """Train the received weights with the client's own normalization, and send all tensors but those of the latter."""

    keep: Annotated[
        Literal["all", "statistics"],
        Field(description="what stays with the client: all of the normalization, or (SiloBN) its running statistics"),
    ] = "all"
    norms: Annotated[
        Literal["batch", "all"],
        Field(description="batch normalization alone (the paper), or of any kind"),
    ] = "batch"

    def check(self, client: Client, ctx: RoundContext) -> list[str]:
        """RequestError for a network in which nothing is kept: on it this would be FedAvg."""
        net = ctx.build(client.backbone)
        if not self.kept(net):
            what = "batch normalization" if self.norms == "batch" else "such normalization"
            what = f"running statistics of {what}" if self.keep == "statistics" else what
            other = FedBN(norms="all").kept(net)
            raise RequestError(
                f"fedbn keeps {what} at each client, and {client.backbone} has none, so this would be FedAvg. Use a "
                "backbone with batch normalization (--backbones resnet18), or --method fedavg"
                + (", or --set local_update.norms=all to keep what normalization it has." if other else ".")
            )
        return []

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the client's own network."""
        client.models[MODEL] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1: train, and send all tensors but those that are kept."""
        net = client.models[MODEL]
        if received is not None:
            received.load_into(net, partial=True)
        metrics = fit(net, client.train, ctx)
        shared = net.state_dict().keys() - self.kept(net)
        return Update(Payload.of(net).select(shared), len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model with the client's own normalization."""
        return {"personal": merged(client.models[MODEL], received, client.backbone, ctx)}

    def kept(self, net: nn.Module) -> set[str]:
        """The names of the tensors that stay with the client, found by the types of layers, whatever their names."""
        kinds = _BatchNorm if self.norms == "batch" else (_BatchNorm, *OTHERS)
        layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, kinds)]
        tensors = [f"{name}.{buffer}" for name, layer in layers for buffer, _ in layer.named_buffers(recurse=False)]
        if self.keep == "all":
            tensors += [f"{name}.{weight}" for name, one in layers for weight, _ in one.named_parameters(recurse=False)]
        return set(tensors)


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedbn": FedBN}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "FedAvg whose clients keep their own batch normalization."
    return {"fedbn": Method("fedbn", control=Control("fedavg"), paper=PAPER, summary=summary)}
