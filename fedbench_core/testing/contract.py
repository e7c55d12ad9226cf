"""What all contract suites share: how a part is created, and what holds for every part."""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pytest
import torch

from fedbench_core import RunSpec
from fedbench_core.registry import registry
from fedbench_core.registry.process_settings import process_settings, restored_settings
from fedbench_core.testing.outside import OUTSIDE, modules_of

Part = TypeVar("Part")
Trace = Callable[[], object]


class ValueContract(Generic[Part]):
    """A suite for one part, which is a value. name: as registered; options: as given to `--set`."""

    kind: ClassVar[str]
    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, object]] = MappingProxyType({})

    def make(self) -> Part:
        """A new part, created by its registered name, so that registration and options are tested too."""
        if not self.name:
            raise TypeError(f'{type(self).__name__} needs the name of a registered {self.kind}: name = "..."')
        part: Part = registry().make(self.kind, self.name, self.options)
        return part

    @pytest.fixture(autouse=True)
    def _as_in_a_run(self) -> Iterator[None]:
        """Torch has as many threads as in a run; settings that a part changes are restored after the case."""
        environment = dict(os.environ)
        with restored_settings():
            torch.set_num_threads(RunSpec.model_fields["threads"].default)
            yield
        _put_environment_back(environment)

    @pytest.fixture
    def part(self) -> Part:
        """The part under test."""
        return self.make()

    def test_is_a_value(self, part: Part) -> None:
        """Two parts with the same options are equal, because a part holds nothing else."""
        assert self.make() == part, (
            f"{self.name} created twice with the same options gives parts that are not equal. A part holds its options "
            "and nothing else: decorate it with @dataclass(frozen=True)."
        )


class PartContract(ValueContract[Part]):
    """A suite for one part on which the numbers of a run depend."""

    @pytest.fixture
    def trace(self, part: Part) -> Trace:
        """A function that uses the part, and returns the outcome."""
        raise NotImplementedError(f"{type(self).__name__} has no trace of {part}")

    @pytest.mark.parametrize("thing", OUTSIDE)
    def test_depends_on_nothing_outside(self, trace: Trace, thing: str) -> None:
        """Another date, process, machine or hash seed changes nothing: a run can be repeated at any time."""
        modules = modules_of(self.make())
        with OUTSIDE[thing](0, modules):
            first, again = trace(), trace()
        with OUTSIDE[thing](1, modules):
            elsewhere = trace()
        assert same(first, elsewhere) or not same(first, again), (
            f"{self.name} gives something else with another {thing}: a run could not be repeated on another day or "
            "machine. Results may depend on arguments only."
        )


def same(one: object, other: object) -> bool:
    """Whether two values are equal. In place of `==`, whose failure pytest explains byte by byte, for minutes."""
    return bool(one == other)


@contextmanager
def global_state_untouched(what: str) -> Iterator[None]:
    """Fail if the block uses a global generator or changes a global setting; `what` names the cause."""
    with _own_randomness():
        before, settings = _random_states(), _settings()
        yield
        after = _random_states()
    for source, state in before.items():
        assert same(state, after[source]), (
            f"{what} drew from (or seeded) the global generator of {source}: runs could no longer be repeated. "
            "Draw from the generator that is passed, or from ctx.rng(...) and ctx.generator(...)."
        )
    now = _settings()
    for setting in settings.keys() | now.keys():
        was, is_ = settings.get(setting, "nothing"), now.get(setting, "nothing")
        assert is_ == was, f"{what} changed {setting} from {was} to {is_}, for the whole process. Leave it as it is."


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Seed the global generators with an unusual seed, so that seeding them again is noticed; restored at the end."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  # as below
    random.seed(20_201_120)
    np.random.seed(20_201_120)  # noqa: NPY002  # as below
    torch.default_generator.manual_seed(20_201_120)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002  # as below
        torch.set_rng_state(kept[2])


def _random_states() -> dict[str, Any]:
    words = np.random.get_state(legacy=False)  # noqa: NPY002  # the global generator is what is watched
    return {
        "random": random.getstate(),
        "numpy.random": repr(words),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def _put_environment_back(environment: Mapping[str, str]) -> None:
    """Restore the environment, except for the variable that pytest sets."""
    for name in (os.environ.keys() | environment.keys()) - {"PYTEST_CURRENT_TEST"}:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            del os.environ[name]


def _settings() -> dict[str, object]:
    environment = {f"the environment variable {name}": value for name, value in os.environ.items()}
    return {**process_settings(), **environment}
