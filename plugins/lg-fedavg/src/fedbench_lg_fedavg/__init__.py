"""LG-FedAvg (Liang et al., 2020): representations stay local, the layers on top of them are global."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Backbone,
    Client,
    Control,
    LocalUpdate,
    Method,
    ModuleFactory,
    Outputs,
    Payload,
    RequestError,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import Batch, Projected, fit, merged

PAPER = "Liang et al., Think Locally, Act Globally: Federated Learning with Local and Global Representations, 2020"
MODEL, HEAD, MAP = "model", "head", "map"


def whole(net: Backbone, head: nn.Module | None, client: Client, ctx: RoundContext) -> nn.Module:
    """What predicts: the network itself, or with a fixed map of its embedding and a global head on that."""
    if not isinstance(head, nn.Linear):
        return net
    embeddings = ctx.build_module(MAP, client.backbone, inputs=net.embedding_size, outputs=head.in_features)
    return Projected(net, embeddings.requires_grad_(requires_grad=False), head)


def linear_map(inputs: int, outputs: int) -> nn.Module:
    """A linear map, which is never trained."""
    return nn.Linear(inputs, outputs, bias=False)


@dataclass(frozen=True)
class LGFedAvg(LocalUpdate):
    """Train the client's own model, of which the last layers are global: received before the turn and sent after it."""

    modules: ClassVar[Mapping[str, ModuleFactory]] = {HEAD: nn.Linear, MAP: linear_map}
    layers: Annotated[int, Field(ge=0, description="last layers (modules with weights) that are global; 0: all")] = 1
    size: Annotated[
        int | None,
        Field(
            ge=0,
            description="length to which a fixed map takes embeddings; none: the least where they differ; 0: no map",
        ),
    ] = None
    share: Annotated[bool, Field(description="false: nothing travels; this is local training")] = True

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """A note on embeddings that are mapped; RequestError if the global layers of two backbones differ."""
        nets = {name: ctx.build(name) for name in dict.fromkeys(ctx.backbones)}
        sizes = {name: net.embedding_size for name, net in nets.items()}
        size, own = self.adapted(ctx), sizes[client.backbone]
        if size and self.layers != 1:
            raise RequestError(
                f"lg-fedavg maps embeddings to {size} entries for one global layer, and local_update.layers is "
                f"{self.layers}. Use --set local_update.layers=1, or backbones with embeddings of one length."
            )
        shapes = {name: [value.shape for value in self.top(net).values()] for name, net in nets.items()}
        if not size and any(one != shapes[client.backbone] for one in shapes.values()):
            raise RequestError(
                f"lg-fedavg shares the last layers ({self.layers or 'all'}), whose shapes differ; the embeddings of "
                f"{', '.join(sizes)} have {', '.join(map(str, sizes.values()))} entries. Use one backbone, or "
                f"--set local_update.layers=1 --set local_update.size={min(sizes.values())}, which maps all embeddings "
                "to that length."
            )
        return [f"A fixed map takes the embeddings of {client.backbone} from {own} to {size} entries."] * bool(size)

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the client's own model."""
        client.models[MODEL] = ctx.build(client.backbone)
        if size := self.adapted(ctx):
            client.modules[HEAD] = ctx.build_module(HEAD, in_features=size, out_features=ctx.task.outputs)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Load the global layers, train all layers together, and send the global ones."""
        model = whole(client.models[MODEL], client.modules.get(HEAD), client, ctx)
        self._load(received, model)

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> Tensor:
            logits = model.output(model.represent(outputs)) if isinstance(model, Projected) else outputs.logits
            return ctx.task.loss(logits, batch.labels)

        metrics = fit(client.models[MODEL], client.train, ctx, loss=loss, parameters=list(model.parameters()))
        return Update(Payload.of(self.top(model)) if self.share else None, len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The client's own layers with the global ones, which absent clients receive too."""
        head: nn.Module | None = None
        net, own = merged(client.models[MODEL], None, client.backbone, ctx), client.modules.get(HEAD)
        if own is not None:
            head = ctx.build_module(HEAD, in_features=self.adapted(ctx), out_features=ctx.task.outputs)
            head.load_state_dict(own.state_dict())
        model = whole(net, head, client, ctx)
        self._load(received, model)
        return {MODEL: model}

    def adapted(self, ctx: RoundContext) -> int:
        """The length to which all embeddings are mapped, 0 for none."""
        if self.size is not None:
            return self.size
        sizes = {ctx.build(name).embedding_size for name in dict.fromkeys(ctx.backbones)}
        return min(sizes) if len(sizes) > 1 else 0

    def top(self, model: nn.Module) -> dict[str, Tensor]:
        """The tensors of the global layers, named by their position from the last layer, which is 0."""
        if isinstance(model, Projected):
            return {f"0/{name}": value for name, value in model.output.state_dict().items()}
        if not self.layers:
            return dict(model.state_dict())
        layers = [one for one in model.modules() if not list(one.children()) and one.state_dict()]
        named = list(enumerate(layers[-1 : -self.layers - 1 : -1]))
        return {f"{at}/{name}": value for at, layer in named for name, value in layer.state_dict().items()}

    def _load(self, received: Payload | None, model: nn.Module) -> None:
        if received is not None:
            for name, value in self.top(model).items():
                value.copy_(received.tensors[name])


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"lg-fedavg": LGFedAvg}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "Clients with any backbones keep their own representations and share the last layers."
    local = Control("local")
    own = Method("lg-fedavg", control=local, pinned=("topology",), mixed_backbones=True, paper=PAPER, summary=summary)
    return {"lg-fedavg": own}
