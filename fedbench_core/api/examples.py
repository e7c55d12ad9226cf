"""Labelled images that a part may look at: a view into arrays that are mapped, never copied."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Rows `indices` of a split. images: uint8 (n, H, W), (n, H, W, C) or (n, D, H, W); labels: (n, 1) or (n, L).

    `channels` says what the axis behind n is: "none" (gray), "last" (color) or "first" (a volume's depth).
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    indices: Indices
    channels: str
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.indices)

    def pick(self, positions: Indices) -> "Examples":
        """The examples at `positions` of this view."""
        return replace(self, indices=self.indices[positions])

    def on(self, device: str) -> "Examples":
        """The same examples, whose tensors will lie on `device`."""
        return replace(self, device=device)

    def tensors(self, positions: Indices | None = None) -> tuple[Tensor, Tensor]:
        """Images (b, C, H, W) as float32 in [-1, 1]; labels int64 (b,), or float32 (b, L) when there are L > 1."""
        rows = self.indices if positions is None else self.indices[positions]
        images = torch.from_numpy(np.asarray(self.images[rows])).to(self.device)
        if self.channels == "none":
            images = images.unsqueeze(1)
        elif self.channels == "last":
            images = images.permute(0, 3, 1, 2)
        scaled = images.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)
        return scaled, self.targets(positions).to(self.device)

    def targets(self, positions: Indices | None = None) -> Tensor:
        """The labels alone, on the CPU: int64 (b,), or float32 (b, L) when there are L > 1."""
        rows = self.indices if positions is None else self.indices[positions]
        labels = torch.from_numpy(np.asarray(self.labels[rows]))
        return labels[:, 0] if labels.shape[1] == 1 else labels.to(torch.float32)
