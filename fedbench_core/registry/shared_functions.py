"""Functions that all methods share, of torch, numpy, random and the core: replacing one changes everybody's numbers."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any

import torch  # noqa: F401  # so that its modules are loaded

_CORE = "fedbench_core"
_MODULES = (
    *("builtins", "math", "random", "numpy", "numpy.random", "numpy.linalg", "torch", "torch._C", "torch._C._nn"),
    *("torch.autograd", "torch.linalg", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.parameter"),
    *("torch.optim", "torch.random", "torch.utils.data"),
)
_METHODS = (staticmethod, classmethod, property)
_BODY = attrgetter("__code__", "__defaults__", "__kwdefaults__")
_SHOWN = 3
_MISSING = object()

Owner = ModuleType | type


@dataclass(frozen=True)
class _Change:
    owner: Owner
    name: str
    before: Any

    def __str__(self) -> str:
        prefix = f"{self.owner.__module__}." if isinstance(self.owner, type) else ""
        return f"{prefix}{self.owner.__name__}.{self.name}"

    def undo(self) -> None:
        with suppress(AttributeError, TypeError):  # what could be set can be set back, unless its setter was replaced
            if self.before is _MISSING:
                delattr(self.owner, self.name)
            else:
                setattr(self.owner, self.name, self.before)


class SharedFunctions:
    """The functions, classes and methods of the watched modules, as they were when this was made."""

    def __init__(self) -> None:
        self._owners = [(owner, len(vars(owner)), _callables(owner)) for owner in _owners()]
        members = [value for _, _, members in self._owners for value in members.values()]
        self._functions = list({id(value): value for value in members if isinstance(value, FunctionType)}.values())
        self._bodies = list(map(_BODY, self._functions))

    @contextmanager
    def restored(self) -> Iterator[list[str]]:
        """A block after which everything is as it was before; the yielded list is then filled with what had changed."""
        changed: list[str] = []
        try:
            yield changed
        finally:
            changes = [*self._replaced(), *self._shadowed()]
            for change in changes:
                change.undo()
            changed += sorted({*map(str, changes), *self._restored_bodies()})

    def _replaced(self) -> Iterator[_Change]:
        for owner, _, members in self._owners:
            now = list(map(vars(owner).get, members))
            if now == [*members.values()]:  # much faster than a loop, because equal lists hold the same objects
                continue
            for (name, value), other in zip(members.items(), now, strict=True):
                if other is not value and not _is_own_wrapper(owner, other, value):
                    yield _Change(owner, name, value)

    def _shadowed(self) -> Iterator[_Change]:
        """New attributes of classes that hide inherited ones; others are harmless."""
        for owner, count, members in self._owners:
            if not isinstance(owner, type) or len(vars(owner)) == count:
                continue
            for name in vars(owner).keys() - members.keys():
                if callable(vars(owner)[name]) and any(name in vars(base) for base in owner.__mro__[1:]):
                    yield _Change(owner, name, _MISSING)

    def _restored_bodies(self) -> Iterator[str]:
        for function, now, body in zip(self._functions, map(_BODY, self._functions), self._bodies, strict=True):
            if now[0] is not body[0] or now[1] is not body[1] or now[2] is not body[2]:
                function.__code__, function.__defaults__, function.__kwdefaults__ = body
                yield f"{function.__module__}.{function.__qualname__}"


def shown(changed: list[str]) -> str:
    """The names of changed functions, the first few if there are many."""
    more = len(changed) - _SHOWN
    return ", ".join(changed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _owners() -> Iterator[Owner]:
    """The watched modules that are loaded, and the classes that they define."""
    loaded = [name for name in sys.modules if name.startswith(f"{_CORE}.")]
    modules = [sys.modules[name] for name in (*_MODULES, *loaded) if name in sys.modules]
    classes = {id(value): value for module in modules for value in vars(module).values() if _defines(module, value)}
    yield from (*modules, *classes.values())


def _defines(module: ModuleType, value: object) -> bool:
    """Whether `value` is a class of the library that the module belongs to."""
    return isinstance(value, type) and _root(value.__module__) == _root(module.__name__)


def _root(module: object) -> str:
    return str(module).partition(".")[0]


def _callables(owner: Owner) -> dict[str, Any]:
    return {name: value for name, value in vars(owner).items() if callable(value) or isinstance(value, _METHODS)}


def _is_own_wrapper(owner: Owner, new: object, old: object) -> bool:
    """Whether a library wrapped a function of its own, as an import of torch._dynamo does with torch.manual_seed."""
    library = sys.modules.get(_root(owner.__module__ if isinstance(owner, type) else owner.__name__))
    folder = os.path.dirname(getattr(library, "__file__", None) or "")  # noqa: PTH120  # 30 times as fast
    own = isinstance(new, FunctionType) and bool(folder) and new.__code__.co_filename.startswith(folder + os.sep)
    return own and getattr(new, "__wrapped__", None) is old
