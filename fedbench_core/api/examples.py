"""Images that a part may look at, with or without labels: views into arrays that are mapped, never copied."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedbench_core.api.resident import resident

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Rows `indices` of a split. images: uint8 (n, H, W), (n, H, W, C) or (n, D, H, W); labels: (n, 1) or (n, L).

    `channels` is the position of the channel axis: "none" (gray), "last" (color) or "first" (a volume's depth).
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    indices: Indices
    channels: str
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def item_bytes(self) -> int:
        """The size of one image as a float32 tensor."""
        return self.without_labels().item_bytes

    def pick(self, positions: Indices) -> "Examples":
        """The examples at `positions` of this view."""
        return replace(self, indices=self.indices[positions])

    def on(self, device: str) -> "Examples":
        """The same examples, whose tensors are made on `device`."""
        return replace(self, device=device)

    def tensors(self, positions: Indices | None = None) -> tuple[Tensor, Tensor]:
        """Images (b, C, H, W) as float32 in [-1, 1]; labels int64 (b,), or float32 (b, L) when there are L > 1."""
        return self.without_labels().tensors(positions)[0], self.targets(positions).to(self.device)

    def targets(self, positions: Indices | None = None) -> Tensor:
        """The labels alone, on the CPU: int64 (b,), or float32 (b, L) when there are L > 1."""
        rows = self.indices if positions is None else self.indices[positions]
        labels = torch.from_numpy(np.asarray(self.labels[rows]))
        return labels[:, 0] if labels.shape[1] == 1 else labels.to(torch.float32)

    def without_labels(self) -> "Images":
        """The images alone."""
        return Images(self.images, self.indices, self.channels, self.device)


@dataclass(frozen=True)
class Images:
    """Images without labels, such as public ones; the fields are those of `Examples`."""

    images: npt.NDArray[np.uint8]
    indices: Indices
    channels: str
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def nbytes(self) -> int:
        """The size of the images in bytes, uncompressed."""
        return len(self) * int(np.prod(self.images.shape[1:]))

    @property
    def item_bytes(self) -> int:
        """The size of one image as a float32 tensor."""
        return 4 * int(np.prod(self.images.shape[1:]))

    def pick(self, positions: Indices) -> "Images":
        """The images at `positions` of this view."""
        return replace(self, indices=self.indices[positions])

    def on(self, device: str) -> "Images":
        """The same images, whose tensors are made on `device`."""
        return replace(self, device=device)

    def tensors(self, positions: Indices | None = None) -> tuple[Tensor, Tensor]:
        """Images (b, C, H, W) as float32 in [-1, 1]; and in place of labels an empty tensor (b, 0)."""
        rows = self.indices if positions is None else self.indices[positions]
        there = resident(self.images, self.device)
        if there is None:
            images = torch.from_numpy(np.asarray(self.images[rows])).to(self.device)
        else:
            images = there[torch.tensor(rows, device=self.device)]
        if self.channels == "none":
            images = images.unsqueeze(1)
        elif self.channels == "last":
            images = images.permute(0, 3, 1, 2)
        return scaled(images), torch.empty(len(rows), 0, device=self.device)


def scaled(images: Tensor) -> Tensor:
    """Images (b, C, H, W) of any type in 0..255 as float32 in [-1, 1], contiguous in memory."""
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)
