"""FedMIC (Ren et al., arXiv 2407.02261): dual distillation and global parameter decomposition. A reconstruction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api import (
    Backbone,
    Client,
    Control,
    LocalUpdate,
    LogUniform,
    Method,
    Payload,
    RoundContext,
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
    pooled,
    projection,
)

PAPER = "Ren et al., FedMIC, arXiv 2407.02261v2, 2024 (abstract and figure captions; the equations were not available)"

TEACHER, STUDENT = "teacher", "student"
_REPRESENTATION, _DECISION = "representation", "decision"


@dataclass(frozen=True)
class FedMIC(LocalUpdate):
    """Train the client's teacher and a copy of the common student on the same batches; send the student's delta.

    The server publishes the exact sum of the deltas: the student's displacement from its initial weights. A client
    rebuilds the student from that alone, so it may have been absent, or take part for the first time.
    """

    student: Annotated[str, Field(min_length=1, description="backbone of the common student")] = "mobilenetv3_small_050"
    representation: Annotated[bool, Field(description="each network learns from the other's embeddings")] = True
    decision: Annotated[bool, Field(description="each network learns from the other's predictions")] = True
    aux_site: Annotated[
        Literal["representation", "decision", "both"],
        Field(
            description="what the auxiliary matrices map: embeddings, logits, or both, with a pair of matrices for each"
        ),
    ] = "representation"
    adaptive: Annotated[bool, Field(description="divide both terms by the sum of the task losses, CE_t + CE_s")] = True
    denominator_floor: Annotated[float, Field(ge=0, description="lower bound of that sum")] = 0.1
    temperature: Annotated[
        float, Field(gt=0, description="temperature of the compared predictions"), LogUniform(0.5, 5)
    ] = 1.0
    share: Annotated[bool, Field(description="false: nothing is sent; the same pair trains locally")] = True

    @property
    def backbones(self) -> Sequence[str]:
        """The student."""
        return (self.student,)

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """A note on a student that is larger than this client's teacher."""
        return check_pair(ctx.build(client.backbone), self._initial(ctx), client)

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """The teacher and the auxiliary matrices; without `share` also the student, which is then the client's own."""
        client.models[TEACHER] = teacher = ctx.build(client.backbone)
        student = self._initial(ctx)
        if not self.share:
            client.models[STUDENT] = student
        sizes = {TEACHER: teacher.embedding_size, STUDENT: student.embedding_size}
        for role, other in ((TEACHER, STUDENT), (STUDENT, TEACHER)):
            if self._maps(_REPRESENTATION):
                matrix = projection(sizes[role], sizes[other], ctx, _REPRESENTATION, role)
                client.memory[f"{_REPRESENTATION} {role}"] = matrix
            if self._maps(_DECISION):
                client.memory[f"{_DECISION} {role}"] = torch.eye(ctx.task.outputs, device=ctx.device)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Distill between teacher and student (phase 1), then send the student's delta (phase 2)."""
        if not self.share:
            return Update(None, len(client.train), self._train(client, client.models[STUDENT], ctx))
        student = self.load(received, ctx)
        metrics = self._train(client, student, ctx)
        return Update(self.pack(student, received, ctx), len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The client's teacher; without `share` also its student."""
        roles = (TEACHER,) if self.share else (TEACHER, STUDENT)
        return {role: client.models[role] for role in roles}

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The common student; none without `share`."""
        return {STUDENT: self.load(received, ctx)} if self.share else {}

    def load(self, received: Payload | None, ctx: RoundContext) -> Backbone:
        """The common student: its initial weights plus the received displacement."""
        student = self._initial(ctx)
        if received is not None:
            apply_delta(received, student)
        return student

    def pack(self, student: Backbone, received: Payload | None, ctx: RoundContext) -> Payload:
        """The delta to the received student; of integers to the initial one, because the server takes their maximum."""
        new = delta(student, self.load(received, ctx)).tensors
        total = delta(student, self._initial(ctx)).tensors
        return Payload({name: value if value.is_floating_point() else total[name] for name, value in new.items()})

    def terms(
        self, task: Task, own: ForwardPass, other: ForwardPass, matrices: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The terms added to the task loss of `own`. matrices: from the other's embeddings (logits) to its own."""
        terms = {}
        if self.representation:
            terms[_REPRESENTATION] = _difference(own, other, matrices.get(_REPRESENTATION))
        if self.decision:
            reference = other.outputs.logits
            reference = reference @ matrices[_DECISION].T if _DECISION in matrices else reference
            divergence = task.divergence(reference / self.temperature, own.outputs.logits / self.temperature)
            terms[_DECISION] = divergence * self.temperature**2
        if not self.adaptive:
            return terms
        total = adaptive_denominator(own.loss, other.loss, detach=True, floor=self.denominator_floor)
        return {name: term / total for name, term in terms.items()}

    def _maps(self, level: str) -> bool:
        """Whether this level of distillation has auxiliary matrices."""
        return bool(getattr(self, level)) and self.aux_site in {level, "both"}

    def _train(self, client: Client, student: Backbone, ctx: RoundContext) -> dict[str, float]:
        teacher = self._side(TEACHER, client.models[TEACHER], client, ctx)
        return fit_pair(teacher, self._side(STUDENT, student, client, ctx), client.train, ctx)

    def _side(self, role: str, net: Backbone, client: Client, ctx: RoundContext) -> Side:
        levels = [level for level in (_REPRESENTATION, _DECISION) if self._maps(level)]
        matrices = {level: learnable(client, f"{level} {role}", ctx) for level in levels}
        return Side(role, net, lambda own, other: self.terms(ctx.task, own, other, matrices), list(matrices.values()))

    def _initial(self, ctx: RoundContext) -> Backbone:
        return ctx.build(self.student, STUDENT)


@dataclass(frozen=True)
class FedMICLiteral(FedMIC):
    """FedMIC that sends weights in place of deltas, as the caption of the figure says; more bytes."""

    def load(self, received: Payload | None, ctx: RoundContext) -> Backbone:
        """The common student: the received weights, or the initial ones."""
        student = self._initial(ctx)
        if received is not None:
            received.load_into(student)
        return student

    def pack(self, student: Backbone, received: Payload | None, ctx: RoundContext) -> Payload:
        """The student's weights."""
        return Payload.of(student)


def _difference(own: ForwardPass, other: ForwardPass, matrix: Tensor | None) -> Tensor:
    """Mean squared difference of the embeddings; without a matrix both are average-pooled to the shorter length."""
    if matrix is not None:
        return hint(own.outputs.embedding, other.outputs.embedding, matrix)
    ours, theirs = own.outputs.embedding, other.outputs.embedding
    length = (min(ours.shape[1], theirs.shape[1]),)
    return F.mse_loss(pooled(ours, length), pooled(theirs, length))


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """Both local updates."""
    return {"fedmic": FedMIC, "fedmic-literal": FedMICLiteral}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """Both methods."""
    return {
        "fedmic": Method(
            "fedmic",
            compressor="svd",
            options={"aggregator": {"accumulate": True}},
            mixed_backbones=True,
            pinned=("topology", "aggregator.accumulate"),
            control=Control("fedmic", {"local_update.share": False}),
            fidelity="reconstruction",
            paper=PAPER,
            summary="Private teachers and a small common student distill each other; its delta is sent at low rank, "
            "with any participation. A reconstruction.",
        ),
        "fedmic-literal": Method(
            "fedmic-literal",
            compressor="svd",
            options={"local_update": {"aux_site": "decision"}},
            mixed_backbones=True,
            pinned=("topology", "aggregator.accumulate"),
            control=Control("fedmic", {"local_update.share": False}),
            fidelity="reconstruction",
            paper=PAPER,
            summary="FedMIC as the captions of its figures say: the student's weights are sent at low rank, and the "
            "auxiliary matrices map logits. A reconstruction.",
        ),
    }
