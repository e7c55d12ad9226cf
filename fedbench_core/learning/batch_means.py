"""Means of what is computed for each batch, such as losses, over the images of all batches."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_BLOCK_STEPS = 256


class BatchMeans:
    """Means over images of values of batches.

    Values stay on their device and are added up every 256 steps, so that a step need not wait for a GPU.
    """

    def __init__(self) -> None:
        self._images = self._steps = 0
        self._totals: dict[str, np.floating] = {}
        self._recent: defaultdict[str, list[Tensor]] = defaultdict(list)

    def add(self, values: Mapping[str, Tensor], images: int) -> None:
        """The values of one step, each a mean over `images`: tensors of one number."""
        for name, value in values.items():
            self._recent[name].append(value.detach() * images)
        self._images += images
        self._steps += 1
        if self._steps % _BLOCK_STEPS == 0:
            self._add_up()

    def result(self) -> dict[str, float]:
        """The means by name, and `steps`."""
        self._add_up()
        means = {name: float(total) / max(1, self._images) for name, total in self._totals.items()}
        return {**means, "steps": self._steps}

    def _add_up(self) -> None:
        """One addition after another, in single precision at least: a sum in another order would have other bits."""
        with np.errstate(all="ignore"):  # a loss may grow to infinity
            for name, products in self._recent.items():
                exact = np.float64 if products[0].dtype == torch.float64 else np.float32
                values = [exact(product.item()) for product in products]
                self._totals[name] = np.add.accumulate([self._totals.get(name, exact(0)), *values])[-1]
        self._recent.clear()
