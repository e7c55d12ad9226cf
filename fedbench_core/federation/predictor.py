"""What models predict for a whole split, each distinct one computed once."""

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from fedbench_core.api import Examples, Images, RunError, Splits
from fedbench_core.federation.calls import Predictions
from fedbench_core.federation.recent import Recent

_KEPT = 8
_BATCH_BYTES = 2**24


class Predictor:
    """Runs models on the splits of a dataset; a model that was run before (by digest) is not run again."""

    def __init__(self, device: str, splits: Splits) -> None:
        self._device = device
        self._splits = splits
        self._seen = Recent[tuple[str, str], Predictions](_KEPT)

    def predict(self, net: nn.Module, split: str) -> Predictions:
        """Class probabilities of `net` for the whole split; RunError if its outputs are no logits, or not finite."""
        model = digest(net)
        return self._seen.get((model, split), lambda: Predictions(model, self._probabilities(net, split).numpy()))

    def _probabilities(self, net: nn.Module, split: str) -> Tensor:
        task, examples = self._splits.task, getattr(self._splits, split)
        raw = logits(net, examples.on(self._device))
        _check(raw, (len(examples), task.outputs))
        return task.probabilities(raw).cpu()


def logits(net: nn.Module, examples: Examples | Images) -> Tensor:
    """The outputs of `net` in evaluation mode for all examples, (n, outputs), on the examples' device."""
    size = max(1, _BATCH_BYTES // (4 * int(np.prod(examples.images.shape[1:]))))
    net.eval()
    with torch.inference_mode():
        rows = np.arange(len(examples)), max(1, -(-len(examples) // size))
        return torch.cat([net(examples.tensors(batch)[0]) for batch in np.array_split(*rows)])


def _check(raw: Tensor, shape: tuple[int, int]) -> None:
    if tuple(raw.shape) != shape:
        raise RunError(f"its predictor returned {tuple(raw.shape)} for {shape[0]} images; expected logits {shape}")
    if not raw.isfinite().all():
        raise RunError(
            "its predictor returned NaN or infinity: training diverged. "
            "Try a smaller --lr, or --optimizer adam --lr 0.001."
        )


def digest(net: nn.Module) -> str:
    """sha256 of a model's class and every parameter and buffer, which identifies a model."""
    hasher = hashlib.sha256(f"{type(net).__qualname__} {getattr(net, 'name', '')}".encode())
    for name, value in net.state_dict().items():
        hasher.update(name.encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()
