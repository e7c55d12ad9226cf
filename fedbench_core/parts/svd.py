"""Low-rank compression: a matrix is sent as two thin factors where these are smaller, and unchanged otherwise."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from fedbench_core.api import NOTED, Compressor, Memory, Payload, RoundContext, RunError

_KEY = "svd"
# Below this fraction of a matrix's energy there is only the rounding error of float32.
_ROUNDING = 1e-12
_NoConvergence: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # torch's gap


@dataclass(frozen=True)
class Svd(Compressor):
    """Matrices and kernels are sent as low-rank factors that keep a growing fraction of their energy.

    Energy is the sum of squared singular values, so the error is at most sqrt(1 - energy) of the matrix's norm. A
    kernel (O, I, kh, kw) is treated as a matrix O x (I kh kw). Vectors, scalars, integers, half precision, and every
    matrix whose factors would not be smaller are sent unchanged, to the bit; an all-zero matrix takes no data. It suits
    tensors of nearly low rank, such as the deltas of a few steps; weights themselves are not.
    Source: Wu et al., Nature Communications 13 (2022), Algorithm 1; rank_rule=aicc after Hurvich and Tsai (1989).

    The meta entry "svd" names every factorized tensor with its shape (JSON); a factorized tensor holds both factors
    row by row, one after the other, K (P + Q) numbers for rank K. A note tells which tensors were sent whole because
    their decomposition did not converge.
    """

    energy_start: Annotated[
        float, Field(gt=0, le=1, description="fraction of the energy that is kept in the first round")
    ] = 0.95
    energy_end: Annotated[float, Field(gt=0, le=1, description="fraction in the last round; at least energy_start")] = (
        0.98
    )
    rank_rule: Annotated[
        Literal["energy", "aicc"],
        Field(description="energy: by energy_start and energy_end; aicc: by the corrected Akaike criterion"),
    ] = "energy"
    schedule: Annotated[
        Literal["linear", "code"],
        Field(description="linear: from start to end; code: one round ahead, as in public code"),
    ] = "linear"

    def __post_init__(self) -> None:
        if not 0 < self.energy_start <= self.energy_end <= 1:
            raise ValueError(
                f"energy_start={self.energy_start:g} and energy_end={self.energy_end:g}; expected "
                "0 < energy_start <= energy_end <= 1, because deltas need higher ranks in later rounds"
            )

    def encode(self, payload: Payload, ctx: RoundContext, memory: Memory) -> Payload:
        """The payload with factors in place of matrices; RunError names a matrix that holds NaN or infinity."""
        if taken := {_KEY, NOTED} & payload.meta.keys():
            raise RunError(f"svd uses the meta entry {min(taken)!r}, which this payload has already. Rename it there.")
        energy = self.energy(ctx)
        tensors, shapes, unconverged = dict(payload.tensors), dict[str, list[int]](), list[str]()
        for name, tensor in payload.tensors.items():
            if not _is_matrix(tensor):
                continue
            try:
                factors = self._factors(name, tensor.detach(), energy)
            except _NoConvergence:
                unconverged.append(name)
                continue
            if factors is not None:
                tensors[name], shapes[name] = factors, list(tensor.shape)
        meta = {_KEY: _json(shapes)} if shapes else {}
        if unconverged:
            meta[NOTED] = f"svd found no decomposition of {', '.join(unconverged)} at times and sent it whole."
        return Payload(tensors, {**payload.meta, **meta}) if meta else payload

    def decode(self, payload: Payload) -> Payload:
        """The products of the factors, in the original shapes."""
        shapes: Mapping[str, list[int]] = json.loads(payload.meta.get(_KEY, "{}"))
        restored = {name: _product(payload.tensors[name], shape) for name, shape in shapes.items()}
        meta = {key: value for key, value in payload.meta.items() if key not in {_KEY, NOTED}}
        return Payload({**payload.tensors, **restored}, meta)

    def energy(self, ctx: RoundContext) -> float:
        """The fraction of the energy to keep in this round."""
        done = ctx.progress if self.schedule == "linear" else (ctx.round + 1) / ctx.rounds
        # start + (end - start) * done can miss both ends by a rounding error
        return self.energy_start * (1 - done) + self.energy_end * done

    def _factors(self, name: str, tensor: Tensor, energy: float) -> Tensor | None:
        """Both factors of a matrix in one flat tensor; None if they are not smaller than the matrix."""
        wide = _wide(tensor)
        largest = wide.abs().max()
        if not largest.isfinite():
            raise RunError(f"the tensor {name!r} holds NaN or infinity. Try a smaller --lr.")
        if not largest:
            return tensor.new_empty(0) if _fits(name, tensor, 0) else None
        # scaled to one, because squares of single precision may overflow
        energies, vectors = spectrum(wide / largest)
        rank = aicc_rank(energies, wide.shape) if self.rank_rule == "aicc" else energy_rank(energies, energy)
        if not _fits(name, tensor, rank):
            return None
        basis = vectors[:, :rank].to(tensor.dtype)
        factors = torch.cat([basis.reshape(-1), (basis.T @ wide).reshape(-1)])
        return factors if factors.isfinite().all() else None


def spectrum(wide: Tensor) -> tuple[Tensor, Tensor]:
    """Squared singular values (p,), falling, and left singular vectors (p, p) of a p x q matrix, p <= q; float64.

    From the p x p matrix of inner products, which is several times faster than a decomposition of the whole and as
    exact for what is kept; if it does not converge, from the matrix itself. LinAlgError if neither converges.
    """
    doubled = wide.double()
    try:
        squares, vectors = torch.linalg.eigh(doubled @ doubled.T)
    except _NoConvergence:
        left, values, _ = torch.linalg.svd(doubled, full_matrices=False)
        return values.square(), left
    return squares.flip(0).clamp(min=0), vectors.flip(1)


def energy_rank(energies: Tensor, threshold: float) -> int:
    """The least K >= 1 whose first K squared singular values are more than `threshold` of all; full rank if none is.

    The inequality is strict, as in Wu et al. (2022).
    """
    kept = energies.cpu().cumsum(0)  # on a GPU, cumulative sums have no deterministic kernel
    return min(int((kept / kept[-1] <= threshold).sum()) + 1, len(energies))


def aicc_rank(energies: Tensor, shape: torch.Size) -> int:
    """The K >= 1 that minimizes n ln(RSS/n) + 2kn/(n - k - 1) for n = PQ entries and k = K(P + Q - K) + 1 parameters.

    RSS is the energy behind the first K. Where n - k - 1 <= 0 the criterion is infinite; full rank if it always is.
    """
    rows, columns = shape
    entries = rows * columns
    ranks = torch.arange(1, len(energies) + 1, dtype=torch.float64)
    energies = energies.cpu()  # as above
    total = energies.sum()
    left = (total - energies.cumsum(0)).clamp(min=float(total) * _ROUNDING)
    parameters = ranks * (rows + columns - ranks) + 1
    room = entries - parameters - 1
    criterion = entries * (left / entries).log() + 2 * parameters * entries / room
    criterion[room <= 0] = math.inf
    return int(criterion.argmin()) + 1 if criterion.isfinite().any() else len(energies)


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim > 1 and tensor.numel() > 0 and tensor.dtype in {torch.float32, torch.float64}


def _wide(tensor: Tensor) -> Tensor:
    """The tensor as a matrix with its first axis as rows, turned so that it has no more rows than columns."""
    matrix = tensor.reshape(len(tensor), -1)
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _fits(name: str, tensor: Tensor, rank: int) -> bool:
    """Whether factors of this rank, with the note that they need, are smaller than the tensor."""
    note = len(_json({name: list(tensor.shape)}))
    rows = len(tensor)
    return (rank * (rows + tensor.numel() // rows)) * tensor.itemsize + note < tensor.numel() * tensor.itemsize


def _product(factors: Tensor, shape: list[int]) -> Tensor:
    rows, columns = shape[0], math.prod(shape[1:])
    short, long = sorted((rows, columns))
    rank = factors.numel() // (short + long)
    wide = factors[: short * rank].view(short, rank) @ factors[short * rank :].view(rank, long)
    return (wide if rows <= columns else wide.T).reshape(shape)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
