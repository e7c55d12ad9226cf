"""What the messages of one aggregation must have in common."""

import torch

from fedbench_core.api import Message, RunError

Layout = dict[str, tuple[torch.dtype, torch.Size]]
"""The dtype and shape of each tensor, by name."""


class Agreement:
    """Checks that all messages of an aggregation have the same tensors. Call `add` before you use a message.

    senders: of the messages so far; layout: of the tensors, equal in every message.
    """

    def __init__(self) -> None:
        self.senders: list[int] = []
        self.layout: Layout = {}
        self._first: dict[str, tuple[str, int]] = {}
        self._count: dict[str, int] = {}

    def add(self, message: Message) -> None:
        """Check a message; RunError names two senders whose tensors or metadata differ."""
        self._add_layout(message)
        self._add_meta(message)
        self.senders.append(message.sender)

    @property
    def meta(self) -> dict[str, str]:
        """The metadata that all messages share."""
        return {key: self._first[key][0] for key, count in self._count.items() if count == len(self.senders)}

    def _add_layout(self, message: Message) -> None:
        layout = {name: (tensor.dtype, tensor.shape) for name, tensor in message.payload.tensors.items()}
        if not self.senders:
            self.layout = layout
        elif layout != self.layout:
            raise _mismatch(self.senders[0], self.layout, message.sender, layout)

    def _add_meta(self, message: Message) -> None:
        for key, value in message.payload.meta.items():
            known, sender = self._first.setdefault(key, (value, message.sender))
            if known != value:
                raise RunError(
                    f"Clients {sender} and {message.sender} sent different metadata {key!r}: {known!r} and {value!r}. "
                    f"An aggregate keeps only what all messages share: leave {key!r} out, or use --aggregator relay."
                )
            self._count[key] = self._count.get(key, 0) + 1


def _mismatch(first: int, expected: Layout, second: int, got: Layout) -> RunError:
    name = min(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
    shown = [f"{_words(layout, name)} from client {sender}" for sender, layout in ((first, expected), (second, got))]
    return RunError(
        f"Only messages with the same tensors can be aggregated, but {name!r} is {' and '.join(shown)}. Give all "
        "clients one backbone (--backbones resnet18), or use a method for mixed backbones."
    )


def _words(layout: Layout, name: str) -> str:
    if name not in layout:
        return "missing"
    dtype, shape = layout[name]
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
