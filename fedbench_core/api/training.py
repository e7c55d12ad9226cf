"""The local recipe of a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """How clients train locally. Budget: `steps` optimizer steps if given, else `epochs` over the client's images."""

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    lr: float = 0.02
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
