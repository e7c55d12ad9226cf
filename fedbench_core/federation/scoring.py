"""Predictors scored on a whole split, each distinct one once."""

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from fedbench_core.api import Examples, RunError
from fedbench_core.federation.calls import RoleScore
from fedbench_core.federation.partition import Partition

_KEPT = 8
_BATCH_BYTES = 2**24


class Scorer:
    """Scores predictors; a predictor met again (by digest) is not run again."""

    def __init__(self, device: str, shares: Partition) -> None:
        self._device = device
        self._shares = shares
        self._seen: OrderedDict[tuple[str, str], tuple[Tensor, RoleScore]] = OrderedDict()

    def score(self, net: nn.Module, split: str, share: int) -> RoleScore:
        """Scores of `net` on the whole split, and its probabilities on the images of one share."""
        key = (digest(net), split)
        if key not in self._seen:
            self._seen[key] = self._run(net, key[0], getattr(self._shares.splits, split))
        self._seen.move_to_end(key)
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        probabilities, score = self._seen[key]
        own = probabilities[torch.from_numpy(self._shares.indices[split][share])].numpy()
        return RoleScore(score.digest, score.scores, score.recalls, score.correct, own)

    def _run(self, net: nn.Module, digest: str, examples: Examples) -> tuple[Tensor, RoleScore]:
        task = self._shares.splits.task
        raw = logits(net, examples.on(self._device))
        _check(raw, (len(examples), task.outputs))
        probabilities = task.probabilities(raw).cpu()
        labels = examples.targets()
        recalls = task.recalls(probabilities, labels).double().numpy()
        correct = np.packbits(task.correct(probabilities, labels).numpy())
        none = np.empty((0, task.outputs), np.float32)
        return probabilities, RoleScore(digest, task.scores(probabilities, labels), recalls, correct, none)


def logits(net: nn.Module, examples: Examples) -> Tensor:
    """The outputs of `net` in evaluation mode for all examples, (n, outputs), on the examples' device."""
    size = max(1, _BATCH_BYTES // (4 * int(np.prod(examples.images.shape[1:]))))
    net.eval()
    with torch.inference_mode():
        rows = np.arange(len(examples)), max(1, -(-len(examples) // size))
        return torch.cat([net(examples.tensors(batch)[0]) for batch in np.array_split(*rows)])


def _check(raw: Tensor, shape: tuple[int, int]) -> None:
    if tuple(raw.shape) != shape:
        raise RunError(f"its predictor gave {tuple(raw.shape)} for {shape[0]} images; expected logits {shape}")
    if not raw.isfinite().all():
        raise RunError(
            "its predictor gave NaN or infinity: training diverged. Try a smaller --lr, or --optimizer adam --lr 0.001."
        )


def digest(net: nn.Module) -> str:
    """sha256 of a predictor's class and every parameter and buffer: what tells two predictors apart."""
    hasher = hashlib.sha256(f"{type(net).__qualname__} {getattr(net, 'name', '')}".encode())
    for name, value in net.state_dict().items():
        hasher.update(name.encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()
