"""Differences between two records."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """A value that changed: its path such as `test.metrics.auc`, and both values; None if it is missing."""

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path} {self.before} (now {self.now})"


def differences(before: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """The differences between two JSON values, leaf by leaf, with keys in alphabetical order."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(name, before.get(name), now.get(name)) for name in sorted(before.keys() | now.keys())]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(before, now, strict=True))]
    else:
        if before != now:
            yield Difference(path, before, now)
        return
    for name, old, new in pairs:
        yield from differences(old, new, f"{path}.{name}" if path else name)
