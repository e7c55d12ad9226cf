"""What differs between two records, value by value."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One value, by its path (`test.metrics.auc`), before and now; None where it is not there."""

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path} {self.before} (now {self.now})"


def differences(before: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """What differs between two values as JSON has them, leaf by leaf; keys in alphabetical order."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(name, before.get(name), now.get(name)) for name in sorted(before.keys() | now.keys())]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(before, now, strict=True))]
    else:
        if before != now:
            yield Difference(path, before, now)
        return
    for name, mine, other in pairs:
        yield from differences(mine, other, f"{path}.{name}" if path else name)
