"""FedBN (Li et al., ICLR 2021): FedAvg whose clients keep their batch normalization to themselves."""

from dataclasses import dataclass

from torch.nn.modules.batchnorm import _BatchNorm

from fedbench_core.api import LocalUpdate, Method, Payload, Update, hookimpl
from fedbench_core.learning import fit


@dataclass(frozen=True)
class FedBN(LocalUpdate):
    """Train what was received around the client's own normalization, and say everything else."""

    def setup(self, client, ctx):
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        net = client.models["model"]
        _whole(net, received).load_into(net)
        metrics = fit(net, client, ctx)
        own = {f"{name}." for name, layer in net.named_modules() if isinstance(layer, _BatchNorm)}
        said = {name: value for name, value in Payload.of(net).tensors.items() if not name.startswith(tuple(own))}
        return Update(Payload(said), weight=len(client.train), metrics=metrics)

    def predictors(self, client, received, ctx):
        net = ctx.build(client.backbone)
        _whole(client.models["model"], received).load_into(net)
        return {"personal": net}


def _whole(net, received):
    return Payload({**Payload.of(net).tensors, **(received.tensors if received else {})})


@hookimpl
def fedbench_register_local_updates():
    return {"fedbn": FedBN}


@hookimpl
def fedbench_register_methods():
    return {"fedbn": Method("fedbn", paper="Li et al., ICLR 2021", summary="FedAvg but for batch normalization.")}
