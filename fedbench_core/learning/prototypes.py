"""Class means of what a network computes, and training and predicting with them as prototypes."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from fedbench_core.api import Backbone, Outputs, Task
from fedbench_core.learning.batches import Data
from fedbench_core.learning.local import outputs_of
from fedbench_core.learning.pooling import pooled

_AT_ONCE = 256
"""Images per forward pass."""


@torch.no_grad()
def class_means(net: nn.Module, data: Data, task: Task, values: Callable[[Outputs], Tensor]) -> tuple[Tensor, Tensor]:
    """The mean of `values` (b, d) over the images of each class, and the numbers of these images.

    The network is put into evaluation mode. The means are float32 (classes, d), 0 for a class without an image; the
    numbers int64 (classes,). An image with several labels counts for each of them.
    """
    net.eval()
    sums, counts = torch.zeros(()), torch.zeros(())
    rows = np.arange(len(data))
    for positions in np.split(rows, rows[_AT_ONCE::_AT_ONCE]):
        images, labels = data.tensors(positions)
        members = task.members(labels).double()
        sums = sums + members.T @ values(outputs_of(net, images)).double()
        counts = counts + members.sum(dim=0)
    return (sums / counts.clamp(min=1)[:, None]).float(), counts.long()


def prototype_distance(embeddings: Tensor, members: Tensor, prototypes: Tensor, counts: Tensor) -> Tensor:
    """The mean squared difference of embeddings (b, d) and the prototypes (classes, d) of their classes.

    members: bool (b, classes), see `Task.members`; an image with several labels gets the mean over them. counts
    (classes,): a class with 0 has no prototype. An image of such a class has distance 0. The mean is over all b images.
    """
    squares = (embeddings[:, None] - prototypes).square().mean(dim=2)
    counted = (members & (counts > 0)).to(embeddings)
    return ((squares * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)).mean()


class NearestPrototype(nn.Module):
    """Classifies by the nearest prototype, or by the network's head as long as there are no prototypes.

    prototypes (classes, d), to whose length embeddings are pooled; counts (classes,), 0 for a class without one.
    """

    prototypes: Tensor
    counts: Tensor

    def __init__(self, net: Backbone, prototypes: Tensor, counts: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("prototypes", prototypes)
        self.register_buffer("counts", counts)

    def forward(self, images: Tensor) -> Tensor:
        """The negative distances to the prototypes (b, classes); minus infinity for a class without prototype."""
        outputs = self.net.outputs(images)
        if not self.counts.any():
            return outputs.logits
        embeddings = pooled(outputs.embedding, self.prototypes.shape[1:])
        distances = torch.cdist(embeddings, self.prototypes, compute_mode="donot_use_mm_for_euclid_dist")
        return -distances.masked_fill(self.counts == 0, torch.inf)
