"""The local recipe of a run."""

import math
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "step"]
Augmentation = Literal["none", "flip", "flip-crop", "medical"]
Precision = Literal["fp32", "bf16"]
ClassWeights = Literal["none", "balanced"]

STEP_AT, STEP_FACTOR = (0.5, 0.75), 0.1
"""Where schedule `step` multiplies the learning rate, as fractions of the rounds after the warm-up, and by what."""


@dataclass(frozen=True)
class Training:
    """How clients train locally. Budget: `steps` optimizer steps if given, else `epochs` over the client's images.

    The defaults are plain: sgd at a constant rate. A run has those of `RunSpec`, which the parts of a method get as
    `ctx.training`.

    lr: the learning rate that the schedule multiplies, see `factor`; warmup: rounds; clip: the largest norm of the
    gradient, None for no limit; class_weights: balanced lets all classes of a client count equally in its loss.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    lr: float = 0.02
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    warmup: int = 0
    augmentation: Augmentation = "none"
    precision: Precision = "fp32"
    clip: float | None = None
    class_weights: ClassWeights = "none"
    label_smoothing: float = 0.0

    def factor(self, round_: int, rounds: int) -> float:
        """What the schedule multiplies the learning rate by in round 0 to rounds - 1; never 0.

        With W rounds of warm-up, round r < W has (r + 1) / (W + 1). After that, with x = (r - W) / (rounds - W):
        constant: 1; cosine: (1 + cos(pi x)) / 2, without restarts; step: 0.1 from x = 1/2 and 0.01 from x = 3/4.
        Source of cosine: Loshchilov and Hutter, SGDR, ICLR 2017; of step: the training of MedMNIST's benchmark.
        """
        if round_ < self.warmup:
            return (round_ + 1) / (self.warmup + 1)
        done = (round_ - self.warmup) / max(1, rounds - self.warmup)
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        if self.schedule == "step":
            return STEP_FACTOR ** sum(done >= at for at in STEP_AT)
        return 1.0
