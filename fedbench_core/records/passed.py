"""Files of records that passed all checks on this machine, so that a leaderboard is read without repeating the checks.

A file is known by the sha256 of its bytes, and the checks by that of their source code: a file that changes is checked
again, and so is every file after an upgrade. Only digests are kept. One that is lost or damaged costs a check.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from fedbench_core.api import limits
from fedbench_core.api.folders import default_cache
from fedbench_core.federation import bits, matrix, periods, spec


class Passed:
    """The digests of files that passed."""

    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        self._known = known
        self.new: list[str] = []

    def known(self, digests: Iterable[str]) -> list[bool]:
        """Whether a file with each digest has passed."""
        return [digest in self._known for digest in digests]

    def add(self, digests: Iterable[str]) -> None:
        """Files with these digests have passed now."""
        self.new += digests


@contextmanager
def remembered() -> Iterator[Passed]:
    """What has passed on this machine; what passes during the block is added. Nothing is kept without a cache."""
    file = default_cache() / "records" / _version()
    known: frozenset[str] = frozenset()
    with suppress(OSError, ValueError):
        known = frozenset(file.read_text(encoding="ascii").split())
    passed = Passed(known)
    yield passed
    if passed.new:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="ascii") as lines:
                lines.write("\n".join(["", *passed.new, ""]))


@cache
def _version() -> str:
    """A digest of the code that checks records."""
    others = [Path(str(module.__file__)) for module in (limits, bits, matrix, periods, spec)]
    files = [*sorted(Path(__file__).parent.glob("*.py")), *others]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
