"""FedPer (Arivazhagan et al., 2019) and FedRep (Collins et al., ICML 2021): a common body, and a head per client."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import nn

from fedbench_core.api import Backbone, Client, Control, LocalUpdate, Method, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import fit, merged, positions

FEDPER = "Arivazhagan et al., Federated Learning with Personalization Layers, arXiv 1912.00818, 2019"
FEDREP = "Collins et al., Exploiting Shared Representations for Personalized Federated Learning, ICML 2021"
MODEL = "model"


@dataclass(frozen=True)
class FedPer(LocalUpdate):
    """Train the received body together with the client's own head (the classifier), and send the body."""

    share: Annotated[bool, Field(description="false: nothing travels; the client trains alone")] = True

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the client's own network."""
        client.models[MODEL] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train the network and send its body, with the statistics of its normalization."""
        net = client.models[MODEL]
        if received is not None:
            received.load_into(net, partial=True)
        metrics = self.trained(net, client, ctx)
        body = Payload.of(net).select(net.state_dict().keys() - self.personal(net))
        return Update(body if self.share else None, len(client.train), metrics)

    def trained(self, net: Backbone, client: Client, ctx: RoundContext) -> dict[str, float]:
        """Train body and head together for the local budget."""
        return fit(net, client.train, ctx)

    def personal(self, net: Backbone) -> set[str]:
        """The names of the tensors of the head, which stay with the client."""
        prefix = head_name(net)
        return {f"{prefix}.{name}" for name in net.head.state_dict()}

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The common body with the client's own head."""
        return {"personal": merged(client.models[MODEL], received, client.backbone, ctx)}


@dataclass(frozen=True)
class FedRep(FedPer):
    """As FedPer, but train the head first, with the body frozen, and then the body, with the head frozen."""

    head_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the local steps that train the head; below 1, at least one trains the body",
        ),
    ] = 0.8

    def trained(self, net: Backbone, client: Client, ctx: RoundContext) -> dict[str, float]:
        """Algorithm 1, ClientUpdate: the head's steps, then the body's."""
        total = sum(1 for _ in positions(len(client.train), ctx.training, ctx.rng("count")))
        of_head = min(int(self.head_share * total + 0.5), total if self.head_share == 1 else total - 1)
        heads, bodies = list(net.head.parameters()), body_parameters(net)
        first = fit(net, client.train, ctx.with_training(steps=of_head), parameters=heads, frozen=body_modules(net))
        rest = ctx.with_training(steps=total - of_head)
        second = fit(net, client.train, rest, who=("batches", "body"), parameters=bodies, frozen=[net.head])
        losses = [first.get("loss", 0.0) * of_head, second.get("loss", 0.0) * (total - of_head)]
        return {"loss": sum(losses) / total, "steps": total, "head_steps": of_head}


def head_name(net: Backbone) -> str:
    """The name of the head among the modules of a network."""
    [name] = [name for name, module in net.named_modules() if module is net.head]
    return str(name)


def body_modules(net: Backbone) -> list[nn.Module]:
    """The modules outside the head that do not contain it."""
    own = set(net.head.modules())
    return [module for module in net.modules() if module not in own and net.head not in module.modules()]


def body_parameters(net: Backbone) -> list[nn.Parameter]:
    """The parameters outside the head."""
    own = set(net.head.parameters())
    return [parameter for parameter in net.parameters() if parameter not in own]


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """Both local updates."""
    return {"fedper": FedPer, "fedrep": FedRep}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """Both methods."""
    fedper = "FedAvg of the body; each client keeps its own classifier."
    fedrep = "As FedPer, but the head is trained first, then the body."
    alone = Control("fedrep", {"local_update.share": False})
    return {
        "fedper": Method("fedper", control=Control("local"), paper=FEDPER, summary=fedper),
        "fedrep": Method("fedrep", control=alone, paper=FEDREP, summary=fedrep),
    }
