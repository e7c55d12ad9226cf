"""Mutual distillation: two networks train on the same batches, each on its own loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api import Backbone, Client, Outputs, RoundContext, RunError, torch_seed
from fedbench_core.learning.batch_means import BatchMeans
from fedbench_core.learning.batches import Batch, Data, batches
from fedbench_core.learning.local import autocast, clip, optimizer, outputs_of


@dataclass(frozen=True)
class ForwardPass:
    """The outputs of one network for a batch, and its task loss (a mean over the batch)."""

    outputs: Outputs
    loss: Tensor

    def detach(self) -> "ForwardPass":
        """The same values without gradients."""
        outputs = self.outputs
        maps = tuple(map_.detach() for map_ in outputs.maps)
        return ForwardPass(Outputs(outputs.logits.detach(), outputs.embedding.detach(), maps), self.loss.detach())


Terms = Callable[[ForwardPass, ForwardPass], Mapping[str, Tensor]]
"""(own, other) -> the terms that are added to the network's own task loss, by name."""


@dataclass(frozen=True)
class Side:
    """One network of a pair. role: its name in the metrics; matrices: further tensors that are trained with it.

    task_weight: the weight of its task loss beside its terms; the task loss in the metrics is without it. rate: its
    learning rate, and that of its matrices, as a multiple of the run's.
    """

    role: str
    net: Backbone
    terms: Terms
    matrices: Sequence[Tensor] = ()
    task_weight: float = 1.0
    rate: float = 1.0


def fit_pair(first: Side, second: Side, data: Data, ctx: RoundContext, *, joint: bool = False) -> dict[str, float]:
    """Train both networks on the same batches, for the local budget: each on its weighted task loss plus its terms.

    The terms of one network see the outputs of the other detached, so each loss trains its own network only; with
    `joint` nothing is detached, and both networks are trained by both losses.
    Returns means over the images seen: `loss`, the task loss of the first network; and for each network its task loss,
    its terms and the mean norm of its embeddings, all as ROLE_NAME; and `steps`.
    """
    sides = first, second
    step = optimizer([{"params": _parameters([side]), "lr": ctx.lr * side.rate} for side in sides], ctx)
    means = BatchMeans()
    for side in sides:
        side.net.train()
    for batch in batches(data, ctx):
        with autocast(ctx):
            passes = [_forward(side.net, batch, ctx) for side in sides]
            losses = _losses(sides, passes, joint)
        step.zero_grad()
        # the graphs have no node in common unless joint, so one backward pass serves both
        torch.stack(_weighted(sides, losses)).sum().backward()  # type: ignore[no-untyped-call]  # torch's gap
        for side in sides:
            clip(_parameters([side]), ctx)
        step.step()
        means.add(losses | _lengths(sides, passes), len(batch.images))
    made = means.result()
    return {"loss": made.get(f"{first.role}_task", 0.0), **made}


def check_pair(
    teacher: Backbone, student: Backbone, client: Client, roles: tuple[str, str] = ("teacher", "student")
) -> list[str]:
    """A note with both sizes if the student is larger; RequestError if one of the networks has no embeddings.

    roles: what the two are called in the note.
    """
    images, _ = client.train.tensors()
    for net in (teacher, student):
        with torch.no_grad():
            net.eval().outputs(images)
    sizes = [sum(parameter.numel() for parameter in net.parameters()) for net in (teacher, student)]
    if sizes[1] <= sizes[0]:
        return []
    note = (
        f"The {roles[1]} {student.name} ({sizes[1]:,} parameters) is larger than the {roles[0]} {teacher.name} "
        f"({sizes[0]:,}): uncompressed, it sends more than the {roles[0]} itself would."
    )
    return [note]


def adaptive_denominator(first: Tensor, second: Tensor, *, detach: bool, floor: float) -> Tensor:
    """The sum of two task losses, by which distillation terms are divided.

    detach: without gradient; floor: its least value. Source: the denominators of the distillation losses in Wu et al.,
    Nature Communications 13 (2022), which have neither (detach=False, floor=0).
    """
    total = (first + second).detach() if detach else first + second
    bounded: Tensor = total.clamp(min=max(floor, torch.finfo(total.dtype).tiny))
    return bounded


def hint(target: Tensor, source: Tensor, matrix: Tensor) -> Tensor:
    """Mean squared difference of `target` (b, d) and `source` (b, e) taken to its space by `matrix` (d, e)."""
    difference: Tensor = F.mse_loss(source @ matrix.T, target)
    return difference


def projection(rows: int, columns: int, ctx: RoundContext, *who: str) -> Tensor:
    """A (rows, columns) matrix as a linear layer starts with: uniform within 1 / sqrt(columns) of 0.

    Drawn from the stream (seed, "init", who, rows, columns), in any round.
    """
    generator = torch.Generator().manual_seed(torch_seed(ctx.seed, "init", *who, rows, columns))
    bound = columns**-0.5
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator).to(ctx.device)


def learnable(client: Client, name: str, ctx: RoundContext) -> Tensor:
    """The tensor `name` of the client's memory, with gradients; an optimizer changes it in place."""
    kept = client.memory[name]
    if not isinstance(kept, Tensor):
        raise RunError(f"client {client.id}'s memory holds {type(kept).__name__} as {name!r}; expected a tensor.")
    client.memory[name] = tensor = kept.detach().to(ctx.device).requires_grad_()
    return tensor


def _parameters(sides: Iterable[Side]) -> list[torch.nn.Parameter]:
    return [parameter for side in sides for parameter in (*side.net.parameters(), *side.matrices)]  # type: ignore[misc]  # any leaf will do


def _forward(net: Backbone, batch: Batch, ctx: RoundContext) -> ForwardPass:
    outputs = outputs_of(net, batch.images)
    return ForwardPass(outputs, ctx.task.loss(outputs.logits, batch.labels))


def _losses(sides: Sequence[Side], passes: Sequence[ForwardPass], joint: bool) -> dict[str, Tensor]:
    """The terms of both losses, by role and name."""
    losses: dict[str, Tensor] = {}
    for side, own, other in zip(sides, passes, reversed(passes), strict=True):
        terms = side.terms(own, other if joint else other.detach())
        losses |= {f"{side.role}_{name}": term for name, term in {"task": own.loss, **terms}.items()}
    return losses


def _weighted(sides: Sequence[Side], losses: Mapping[str, Tensor]) -> list[Tensor]:
    weights = {f"{side.role}_task": side.task_weight for side in sides}
    return [loss * weights[name] if weights.get(name, 1.0) != 1.0 else loss for name, loss in losses.items()]


def _lengths(sides: Sequence[Side], passes: Sequence[ForwardPass]) -> dict[str, Tensor]:
    """The mean norm of each network's embeddings: near 0 if the pair has collapsed."""
    embeddings = {side.role: own.outputs.embedding for side, own in zip(sides, passes, strict=True)}
    return {f"{role}_embedding": embedding.detach().norm(dim=1).mean() for role, embedding in embeddings.items()}
