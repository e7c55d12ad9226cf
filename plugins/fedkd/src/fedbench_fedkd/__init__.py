"""FedKD (Wu et al., Nature Communications 13, 2022): a private teacher and a shared student distill each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fedbench_core.api import (
    Backbone,
    Client,
    Control,
    LocalUpdate,
    LogUniform,
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
from fedbench_fedkd.attention import attention_maps, blocks, distance

PAPER = (
    "Wu et al., Communication-efficient federated learning via knowledge distillation, Nature Communications 13, 2022"
)

TEACHER, STUDENT = "teacher", "student"
_HINT = "hint"


@dataclass(frozen=True)
class FedKD(LocalUpdate):
    """Train the client's teacher and a copy of the common student on the same batches; send the student's delta.

    The teacher (the client's backbone) and the projection between the two embeddings stay at the client. So does the
    common student: its initial weights plus every aggregated delta received so far.
    """

    student: Annotated[str, Field(min_length=1, description="backbone of the common student")] = "mobilenetv3_small_050"
    mutual: Annotated[bool, Field(description="each network learns from the other's predictions")] = True
    hidden: Annotated[bool, Field(description="each network learns from the other's embeddings, projected")] = True
    attention: Annotated[
        bool, Field(description="each network learns from the other's attention maps, if both are transformers")
    ] = True
    adaptive: Annotated[bool, Field(description="divide all terms by the sum of the task losses, CE_t + CE_s")] = True
    detach_denominator: Annotated[
        bool, Field(description="treat that sum as a constant; false is the paper as printed")
    ] = True
    denominator_floor: Annotated[float, Field(ge=0, description="lower bound of that sum; the paper has none (0)")] = (
        0.1
    )
    grad_mode: Annotated[
        Literal["own", "joint"],
        Field(description="own: each loss trains its own network; joint: both losses train both, as in public code"),
    ] = "own"
    student_lr: Annotated[
        float | None,
        Field(gt=0, description="learning rate of the student, with the run's schedule; none: the run's"),
        LogUniform(1e-4, 0.1),
    ] = None
    share: Annotated[bool, Field(description="false: nothing is sent; the same pair trains locally")] = True

    @property
    def backbones(self) -> Sequence[str]:
        """The student."""
        return (self.student,)

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """Notes on a student that is larger than this client's teacher, and on a single transformer in a pair."""
        teacher, student = ctx.build(client.backbone), ctx.build(self.student, STUDENT)
        notes = check_pair(teacher, student, client)
        if self.attention and bool(blocks(teacher)) != bool(blocks(student)):
            notes.append(f"Of {teacher.name} and {student.name} only one has attention maps, so none are aligned.")
        return notes

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Teacher and student, with different initial weights even if they have the same backbone; the projection."""
        client.models[TEACHER] = teacher = ctx.build(client.backbone)
        client.models[STUDENT] = student = ctx.build(self.student, STUDENT)
        if self.hidden:
            client.memory[_HINT] = projection(teacher.embedding_size, student.embedding_size, ctx, _HINT)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, lines of the client: add the received delta to the common student, then train both networks."""
        common = client.models[STUDENT]
        if not self.share:
            return Update(None, len(client.train), self._train(client, common, ctx))
        _add_received(client, received, ctx)
        student = self._copy(common, ctx)
        metrics = self._train(client, student, ctx)
        return Update(delta(student, common), len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The client's teacher, with which the paper predicts, and the common student."""
        student = client.models[STUDENT]
        if received is not None:
            student = self._copy(student, ctx)
            apply_delta(received, student)
        return {TEACHER: client.models[TEACHER], STUDENT: student}

    def terms(
        self, task: Task, own: ForwardPass, other: ForwardPass, hidden: Tensor | None, attention: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms added to the loss of `own`: (KL(other || own) + hidden + attention) / D, where D = CE_t + CE_s."""
        given = {"hidden": hidden, "attention": attention}
        terms = {name: term for name, term in given.items() if term is not None}
        if self.mutual:
            terms["mutual"] = task.divergence(other.outputs.logits, own.outputs.logits)
        if not self.adaptive:
            return terms
        total = adaptive_denominator(own.loss, other.loss, detach=self.detach_denominator, floor=self.denominator_floor)
        return {name: term / total for name, term in terms.items()}

    def _train(self, client: Client, student: Backbone, ctx: RoundContext) -> dict[str, float]:
        """Train both networks; the projection learns from the student's loss alone unless `grad_mode` is joint."""
        joint = self.grad_mode == "joint"
        matrix = learnable(client, _HINT, ctx) if self.hidden else None
        fixed = matrix if joint or matrix is None else matrix.detach()

        teacher, lr = client.models[TEACHER], self.student_lr
        with attention_maps(teacher) as theirs, attention_maps(student) as ours:

            def of_teacher(own: ForwardPass, other: ForwardPass) -> dict[str, Tensor]:
                return self.terms(ctx.task, own, other, _hidden(own, other, fixed), self._aligned(theirs, ours, joint))

            def of_student(own: ForwardPass, other: ForwardPass) -> dict[str, Tensor]:
                return self.terms(ctx.task, own, other, _hidden(other, own, matrix), self._aligned(ours, theirs, joint))

            rate = 1.0 if lr is None else lr / ctx.training.lr
            return fit_pair(
                Side(TEACHER, teacher, of_teacher),
                Side(STUDENT, student, of_student, [] if matrix is None else [matrix], rate=rate),
                client.train,
                ctx,
                joint=joint,
            )

    def _aligned(self, own: Sequence[Tensor], other: Sequence[Tensor], joint: bool) -> Tensor | None:
        """The difference of attention maps; those of the other network are fixed unless `joint`."""
        return distance(own, other if joint else [one.detach() for one in other]) if self.attention else None

    def _copy(self, student: Backbone, ctx: RoundContext) -> Backbone:
        copy = ctx.build(self.student, STUDENT)
        Payload.of(student).load_into(copy)
        return copy


def _add_received(client: Client, received: Payload | None, ctx: RoundContext) -> None:
    """Add the received delta to the common student; RunError if the client has missed one."""
    if received is None:
        return
    if client.turns < ctx.round:
        raise RunError(
            f"fedkd needs every client in every round, but client {client.id} has taken {client.turns} turns before "
            f"round {ctx.round} and missed a delta of the student. Use --fraction 1 --dropout 0, or --method fedmic."
        )
    apply_delta(received, client.models[STUDENT])


def _hidden(teacher: ForwardPass, student: ForwardPass, matrix: Tensor | None) -> Tensor | None:
    """MSE(H_t, W_h H_s)."""
    return None if matrix is None else hint(teacher.outputs.embedding, student.outputs.embedding, matrix)


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
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
            control=Control("fedkd", {"local_update.share": False}),
            paper=PAPER,
            summary="Private teachers and a small common student distill each other; the student's delta is sent at "
            "low rank.",
        )
    }
