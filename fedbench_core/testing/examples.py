"""What the suites pass to parts: contexts, payloads that are hard to compress, memories that were saved and loaded."""

import numpy as np
import torch
from torch import Tensor

from fedbench_core.api import SERVER, Memory, Payload, RoundContext, Task, Training, pack, unpack

_TASK = Task("multi-class", ("benign", "malignant", "normal"))


def moment(number: int = 0, rounds: int = 5, seed: int = 0, *, node: int = SERVER) -> RoundContext:
    """Round `number` of a small run, as a node sees it; no network can be built."""
    return RoundContext(number, rounds, 0, seed, _TASK, Training(), node=node)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """A float32 tensor of normally distributed values."""
    values = np.random.default_rng([seed, *shape]).normal(0.0, scale, shape)
    return torch.from_numpy(values.astype(np.float32))


def payloads() -> dict[str, Payload]:
    """Payloads by what is special about them; the last one has the tensors of all others."""
    special = {
        "a 3-long bias": normal(3),
        "a 3-channel convolution": normal(8, 3, 3, 3),
        "a matrix of low rank": normal(40, 2) @ normal(2, 30),
        "a matrix of rank one": normal(40, 1) @ normal(1, 30),
        "a 0-d integer": torch.tensor(70_001),
        "all zeros": torch.zeros(16, 12),
        "no entries": torch.zeros(0, 4),
        "half precision": normal(6, 5).half(),
        "bfloat16": normal(6, 5).bfloat16(),
        "double precision": normal(6, 5).double(),
        "transposed": normal(9, 4).t(),
        "channels last": normal(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "truth values": torch.tensor([True, False]),
    }
    alone = {name: Payload({"layer.weight": tensor}, {"owner": "3"}) for name, tensor in special.items()}
    together = {f"layer{number}.weight": tensor for number, tensor in enumerate(special.values())}
    return {**alone, "no tensors": Payload({}, {"owner": "3"}), "all together": Payload(together, {"owner": "3"})}


def layout(payload: Payload) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtype and shape of every tensor, by name."""
    return {name: (str(payload.tensors[name].dtype), tuple(payload.tensors[name].shape)) for name in payload.tensors}


def versions(payload: Payload) -> dict[str, int]:
    """How often each tensor was changed in place."""
    return {name: tensor._version for name, tensor in payload.tensors.items()}  # noqa: SLF001  # torch has no public name


def from_disk(memory: Memory) -> Memory:
    """The memory after it was saved and loaded; fails if it can't be saved."""
    for key, value in memory.items():
        assert isinstance(value, Tensor | int | float | str), (
            f"memory[{key!r}] is of type {type(value).__name__}; a memory holds tensors, numbers and strings, "
            "because it is saved. Keep several values under several keys."
        )
    tensors = {key: value for key, value in memory.items() if isinstance(value, Tensor)}
    rest = {key: value for key, value in memory.items() if not isinstance(value, Tensor)}
    loaded, words = unpack(pack(tensors, rest))
    return {**loaded, **words}
