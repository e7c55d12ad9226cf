"""FedBN (Li et al., ICLR 2021): FedAvg whose clients keep their batch normalization."""

from dataclasses import dataclass

from torch.nn.modules.batchnorm import _BatchNorm

from fedbench_core.api import LocalUpdate, Method, Payload, Update, hookimpl
from fedbench_core.learning import fit


@dataclass(frozen=True)
class FedBN(LocalUpdate):
    """Train the received weights with the client's own batch normalization, and send all tensors but the latter."""

    def setup(self, client, ctx):
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        net = client.models["model"]
        if received is not None:
            received.load_into(net, partial=True)
        metrics = fit(net, client.train, ctx)
        own = tuple(f"{name}." for name, layer in net.named_modules() if isinstance(layer, _BatchNorm))
        shared = [name for name in net.state_dict() if not name.startswith(own)]
        return Update(Payload.of(net).select(shared), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        net = ctx.build(client.backbone)
        for payload in (Payload.of(client.models["model"]), received):
            if payload is not None:
                payload.load_into(net, partial=True)
        return {"personal": net}


@hookimpl
def fedbench_register_local_updates():
    return {"fedbn": FedBN}


@hookimpl
def fedbench_register_methods():
    return {"fedbn": Method("fedbn", paper="Li et al., ICLR 2021", summary="FedAvg with local batch normalization.")}
