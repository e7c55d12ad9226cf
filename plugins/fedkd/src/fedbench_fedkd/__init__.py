"""FedKD (Wu et al., Nature Communications 13, 2022): a private teacher and a shared student that teach each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fedbench_core.api import (
    Backbone,
    Client,
    LocalUpdate,
    Method,
    Payload,
    RoundContext,
    RunError,
    Task,
    Update,
    hookimpl,
)
from fedbench_core.learning import (
    ForwardPass,
    Side,
    adaptive_denominator,
    apply_delta,
    check_pair,
    delta,
    fit_pair,
    hint,
    learnable,
    projection,
)

PAPER = (
    "Wu et al., Communication-efficient federated learning via knowledge distillation, Nature Communications 13, 2022"
)

TEACHER, STUDENT = "teacher", "student"
_HINT = "hint"


@dataclass(frozen=True)
class FedKD(LocalUpdate):
    """Train the client's own teacher and its copy of the common student on the same batches; say the student's change.

    The teacher (the client's backbone) and the projection between the two embeddings never leave. What is kept as the
    student is what all clients have in common: the initial weights and every merged change received since.
    """

    student: Annotated[str, Field(min_length=1, description="backbone of the common student")] = "mobilenetv3_small_050"
    mutual: Annotated[bool, Field(description="each learns from the other's predictions")] = True
    hidden: Annotated[bool, Field(description="each learns from the other's embeddings, through a projection")] = True
    adaptive: Annotated[bool, Field(description="divide both by the sum of the task losses, CE_t + CE_s")] = True
    detach_denominator: Annotated[bool, Field(description="that sum is a constant; false is the literal reading")] = (
        True
    )
    denominator_floor: Annotated[float, Field(ge=0, description="that sum counts as no less; 0 is the paper")] = 0.1
    grad_mode: Annotated[
        Literal["own", "joint"],
        Field(description="own: a loss moves its own network; joint: both, as in public code"),
    ] = "own"
    share: Annotated[bool, Field(description="false: the same pair, of which nothing travels")] = True

    @property
    def backbones(self) -> Sequence[str]:
        """The student."""
        return (self.student,)

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """A note on a student that is larger than this client's teacher."""
        return check_pair(ctx.build(client.backbone), ctx.build(self.student, STUDENT), client)

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Teacher and student with initial weights of their own, also where both are one backbone; the projection."""
        client.models[TEACHER] = teacher = ctx.build(client.backbone)
        client.models[STUDENT] = student = ctx.build(self.student, STUDENT)
        if self.hidden:
            client.memory[_HINT] = projection(teacher.embedding_size, student.embedding_size, ctx, _HINT)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, lines of the client: what was received is added to the common student, then both networks learn."""
        common, samples = client.models[STUDENT], len(client.train)
        if not self.share:
            return Update(None, samples, self._train(client, common, ctx))
        _bring_up_to_date(client, received, ctx)
        student = self._copy(common, ctx)
        metrics = self._train(client, student, ctx)
        return Update(delta(student, common), samples, metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The client's teacher, with which the paper predicts; then the common student."""
        student = client.models[STUDENT]
        if received is not None:
            student = self._copy(student, ctx)
            apply_delta(received, student)
        return {TEACHER: client.models[TEACHER], STUDENT: student}

    def terms(self, task: Task, own: ForwardPass, other: ForwardPass, hidden: Tensor | None) -> dict[str, Tensor]:
        """What is added to one network's task loss: L^d = KL(other || own) / D and L^h = hidden / D."""
        terms = {} if hidden is None else {"hidden": hidden}
        if self.mutual:
            terms["mutual"] = task.divergence(other.outputs.logits, own.outputs.logits)
        if not self.adaptive:
            return terms
        below = adaptive_denominator(own.loss, other.loss, detach=self.detach_denominator, floor=self.denominator_floor)
        return {name: term / below for name, term in terms.items()}

    def _train(self, client: Client, student: Backbone, ctx: RoundContext) -> dict[str, float]:
        """Both networks, and the projection by the student's loss alone unless the losses are joint."""
        joint = self.grad_mode == "joint"
        matrix = learnable(client, _HINT, ctx) if self.hidden else None
        seen_by_teacher = matrix if joint or matrix is None else matrix.detach()

        def teach(own: ForwardPass, other: ForwardPass) -> dict[str, Tensor]:
            return self.terms(ctx.task, own, other, _hidden(own, other, seen_by_teacher))

        def study(own: ForwardPass, other: ForwardPass) -> dict[str, Tensor]:
            return self.terms(ctx.task, own, other, _hidden(other, own, matrix))

        return fit_pair(
            Side(TEACHER, client.models[TEACHER], teach),
            Side(STUDENT, student, study, [] if matrix is None else [matrix]),
            client.train,
            ctx,
            joint=joint,
        )

    def _copy(self, student: Backbone, ctx: RoundContext) -> Backbone:
        copy = ctx.build(self.student, STUDENT)
        Payload.of(student).load_into(copy)
        return copy


def _bring_up_to_date(client: Client, received: Payload | None, ctx: RoundContext) -> None:
    """Add the received delta to the kept student; RunError if the client has missed one."""
    if received is None:
        return
    if client.turns < ctx.round:
        raise RunError(
            f"fedkd sends deltas, so a client that missed a round (turns: {client.turns}, round: {ctx.round}) has "
            "another student than the others. Leave out --fraction and --dropout, or use fedmic."
        )
    apply_delta(received, client.models[STUDENT])


def _hidden(teacher: ForwardPass, student: ForwardPass, matrix: Tensor | None) -> Tensor | None:
    """MSE(H_t, W_h H_s)."""
    return None if matrix is None else hint(teacher.outputs.embedding, student.outputs.embedding, matrix)


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The update."""
    return {"fedkd": FedKD}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    return {
        "fedkd": Method(
            "fedkd",
            compressor="svd",
            options={"aggregator": {"uniform": True}},
            mixed_backbones=True,
            partial_participation=False,
            pinned=("topology", "aggregator.accumulate"),
            paper=PAPER,
            summary="Private teachers and a small common student distil each other; the student's changes travel at "
            "low rank.",
        )
    }
