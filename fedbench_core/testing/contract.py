"""What all contract suites share: how a part is found, and what holds for every part."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pytest
import torch

from fedbench_core.registry import registry

Part = TypeVar("Part")


class PartContract(Generic[Part]):
    """A suite for one part. name: as registered; options: as after `--set` (defaults for what is left out)."""

    kind: ClassVar[str]
    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, object]] = MappingProxyType({})

    def make(self) -> Part:
        """A new part from its registered name, so that discovery and options are tested with it."""
        if not self.name:
            raise TypeError(f'{type(self).__name__} needs the name of a registered {self.kind}: name = "..."')
        part: Part = registry().make(self.kind, self.name, self.options)
        return part

    @pytest.fixture
    def part(self) -> Part:
        """The part under test."""
        return self.make()

    def test_is_a_value(self, part: Part) -> None:
        """Two parts with the same options are equal: nothing but options is in a part."""
        assert self.make() == part, (
            f"{self.name} made twice with the same options gives parts that are not equal. A part holds its options "
            "and nothing else: decorate it with @dataclass(frozen=True)."
        )


def same(one: object, other: object) -> bool:
    """Whether two values are equal: of a plain `==` that fails, pytest would explain every byte, for minutes."""
    return bool(one == other)


@contextmanager
def global_randomness_untouched(what: str) -> Iterator[None]:
    """Fails if the block draws from, or seeds, a global generator of Python, numpy or torch; `what` is the culprit."""
    before = _random_states()
    yield
    after = _random_states()
    for source, state in before.items():
        assert same(state, after[source]), (
            f"{what} drew from (or seeded) the global generator of {source}: runs could no longer be repeated. "
            "Draw from the generator that is handed in, or from ctx.rng(...) and ctx.generator(...)."
        )


def _random_states() -> dict[str, Any]:
    words = np.random.get_state(legacy=False)  # noqa: NPY002  # the global generator is what is watched
    return {
        "random": random.getstate(),
        "numpy.random": repr(words),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
