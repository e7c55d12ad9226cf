"""FedMIC (Ren et al., arXiv 2407.02261): dual distillation and global parameter decomposition. A reconstruction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api import Backbone, Client, LocalUpdate, Method, Payload, RoundContext, Task, Update, hookimpl
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

PAPER = "Ren et al., FedMIC, arXiv 2407.02261v2, 2024 (abstract and figure captions; its equations were not to be had)"

TEACHER, STUDENT = "teacher", "student"
_REPRESENTATION, _DECISION = "representation", "decision"


@dataclass(frozen=True)
class FedMIC(LocalUpdate):
    """Train the client's own teacher and a copy of the common student on the same batches; say the student's change.

    The server sums the changes exactly and lays out the student's displacement from its initial weights, so a client
    needs nothing but what it hears: it may have been absent, or come for the first time.
    """

    student: Annotated[str, Field(min_length=1, description="backbone of the common student")] = "mobilenetv3_small_050"
    representation: Annotated[bool, Field(description="each learns from the other's embeddings")] = True
    decision: Annotated[bool, Field(description="each learns from the other's predictions")] = True
    aux_site: Annotated[
        Literal["representation", "decision", "both"],
        Field(description="where the two auxiliary matrices act: on embeddings, on logits, or two on each"),
    ] = "representation"
    adaptive: Annotated[bool, Field(description="divide both by the sum of the task losses, CE_t + CE_s")] = True
    denominator_floor: Annotated[float, Field(ge=0, description="that sum counts as no less")] = 0.1
    temperature: Annotated[float, Field(gt=0, description="of the predictions that are compared")] = 1.0
    share: Annotated[bool, Field(description="false: the same pair, of which nothing travels")] = True

    @property
    def backbones(self) -> Sequence[str]:
        """The student."""
        return (self.student,)

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """A note on a student that is larger than this client's teacher."""
        return check_pair(ctx.build(client.backbone), self._initial(ctx), client)

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """The teacher and the auxiliary matrices; the student only where it is the client's own."""
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
        """Phase 1, distillation between teacher and student; phase 2, what the student has learned is said."""
        samples = len(client.train)
        if not self.share:
            return Update(None, samples, self._train(client, client.models[STUDENT], ctx))
        student = self.load(received, ctx)
        metrics = self._train(client, student, ctx)
        return Update(self.pack(student, received, ctx), samples, metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The client's teacher, then the student."""
        student = self.load(received, ctx) if self.share else client.models[STUDENT]
        return {TEACHER: client.models[TEACHER], STUDENT: student}

    def load(self, received: Payload | None, ctx: RoundContext) -> Backbone:
        """The common student: its initial weights, displaced by what was received."""
        student = self._initial(ctx)
        if received is not None:
            apply_delta(received, student)
        return student

    def pack(self, student: Backbone, received: Payload | None, ctx: RoundContext) -> Payload:
        """The change since what was received; of integers, which the server takes the maximum of, that since the start."""
        now = delta(student, self.load(received, ctx)).tensors
        in_all = delta(student, self._initial(ctx)).tensors
        return Payload({name: new if new.is_floating_point() else in_all[name] for name, new in now.items()})

    def terms(
        self, task: Task, own: ForwardPass, other: ForwardPass, matrices: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What is added to one network's task loss. matrices: the other's embeddings (logits) to the own ones."""
        terms = {}
        if self.representation:
            terms[_REPRESENTATION] = _difference(own, other, matrices.get(_REPRESENTATION))
        if self.decision:
            said = other.outputs.logits
            said = said @ matrices[_DECISION].T if _DECISION in matrices else said
            divergence = task.divergence(said / self.temperature, own.outputs.logits / self.temperature)
            terms[_DECISION] = divergence * self.temperature**2
        if not self.adaptive:
            return terms
        below = adaptive_denominator(own.loss, other.loss, detach=True, floor=self.denominator_floor)
        return {name: term / below for name, term in terms.items()}

    def _maps(self, level: str) -> bool:
        """Whether auxiliary matrices act at this level of distillation."""
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
    """FedMIC whose students travel as weights, not as changes: the figure's caption to the message, and costlier."""

    def load(self, received: Payload | None, ctx: RoundContext) -> Backbone:
        """The common student: the weights that were received, or initial ones."""
        student = self._initial(ctx)
        if received is not None:
            received.load_into(student)
        return student

    def pack(self, student: Backbone, received: Payload | None, ctx: RoundContext) -> Payload:
        """The student's weights."""
        return Payload.of(student)


def _difference(own: ForwardPass, other: ForwardPass, matrix: Tensor | None) -> Tensor:
    """Mean squared difference of the embeddings; without a matrix both are averaged down to the shorter length."""
    if matrix is not None:
        return hint(own.outputs.embedding, other.outputs.embedding, matrix)
    embeddings = own.outputs.embedding, other.outputs.embedding
    length = min(embedding.shape[1] for embedding in embeddings)
    centralized: list[Tensor] = [F.adaptive_avg_pool1d(embedding, length) for embedding in embeddings]
    difference: Tensor = F.mse_loss(centralized[0], centralized[1])
    return difference


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """Both updates."""
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
            fidelity="reconstruction",
            paper=PAPER,
            summary="Private teachers and a small common student distil each other; its changes travel at low rank, "
            "under any participation. A reconstruction.",
        ),
        "fedmic-literal": Method(
            "fedmic-literal",
            compressor="svd",
            mixed_backbones=True,
            pinned=("topology", "aggregator.accumulate"),
            fidelity="reconstruction",
            paper=PAPER,
            summary="FedMIC that decomposes the student's weights, as its figure has it. A reconstruction.",
        ),
    }
