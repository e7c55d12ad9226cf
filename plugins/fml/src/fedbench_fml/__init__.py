"""FML (Shen et al., 2020): private networks and a shared "meme" network learn from each other's predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from fedbench_core.api import (
    Backbone,
    Client,
    Control,
    LocalUpdate,
    Method,
    OneOf,
    Payload,
    RoundContext,
    Task,
    Update,
    hookimpl,
)
from fedbench_core.learning import ForwardPass, Side, Terms, check_pair, fit_pair

PAPER = "Shen et al., Federated Mutual Learning, arXiv 2006.16765, 2020"
PRIVATE, MEME = "private", "meme"


@dataclass(frozen=True)
class FML(LocalUpdate):
    """Train the client's private network and the received meme on the same batches; send the meme."""

    meme: Annotated[str, Field(min_length=1, description="backbone of the meme, the common network")] = (
        "mobilenetv3_small_050"
    )
    alpha: Annotated[
        float,
        Field(ge=0, le=1, description="weight of the private network's task loss; 1: labels alone teach it"),
        OneOf((0.1, 0.3, 0.5, 0.7, 0.9)),
    ] = 0.5
    beta: Annotated[
        float,
        Field(ge=0, le=1, description="weight of the meme's task loss; 1: labels alone teach it"),
        OneOf((0.1, 0.3, 0.5, 0.7, 0.9)),
    ] = 0.5
    share: Annotated[bool, Field(description="false: nothing is sent; the same pair trains locally")] = True

    @property
    def backbones(self) -> Sequence[str]:
        """The meme."""
        return (self.meme,)

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """A note on a meme that is larger than this client's private network."""
        return check_pair(ctx.build(client.backbone), ctx.build(self.meme, MEME), client, (PRIVATE, MEME))

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Both networks, with different initial weights even if they have the same backbone."""
        client.models[PRIVATE] = ctx.build(client.backbone)
        client.models[MEME] = ctx.build(self.meme, MEME)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train both, each on a weighted sum of its task loss and KL(other || own)."""
        private, meme = client.models[PRIVATE], client.models[MEME]
        if received is not None:
            received.load_into(meme)
        metrics = fit_pair(
            Side(PRIVATE, private, self.terms(ctx.task, self.alpha), task_weight=self.alpha),
            Side(MEME, meme, self.terms(ctx.task, self.beta), task_weight=self.beta),
            client.train,
            ctx,
        )
        return Update(Payload.of(meme) if self.share else None, len(client.train), metrics)

    def terms(self, task: Task, weight: float) -> Terms:
        """(1 - weight) KL(other || own), which is added to weight times the task loss."""

        def of(own: ForwardPass, other: ForwardPass) -> dict[str, Tensor]:
            return {"mutual": (1 - weight) * task.divergence(other.outputs.logits, own.outputs.logits)}

        return of

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The private network, with which the paper predicts, and the meme: the common one once there is one."""
        meme = ctx.build(self.meme, MEME)
        (received or Payload.of(client.models[MEME])).load_into(meme)
        return {PRIVATE: client.models[PRIVATE], MEME: meme}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fml": FML}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    fml = Method(
        "fml",
        mixed_backbones=True,
        control=Control("fml", {"local_update.share": False}),
        paper=PAPER,
        summary="Private networks and a common network, the meme, learn from each other; the meme is averaged.",
    )
    return {"fml": fml}
