"""The CSV files of a run: rows are appended round by round; a resume cuts them to the last committed round."""

import csv
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fedbench_core.api import RunError

MESSAGE_COLUMNS = ("round", "phase", "sender", "receiver", "bytes", "bytes_dense")
CLIENT_COLUMNS = ("round", "phase", "client", "num_examples", "bytes_up", "bytes_down", "bytes_peer")


Committed = tuple[int, str]
"""The length of a file in bytes, and the sha256 of its contents."""
NEW: Committed = (0, "")


class Table:
    """One CSV file. Rows are kept in memory until `flush`, so that the file holds whole rounds only.

    Rows of one kind of phase have the same metrics; the columns are those of all kinds in the first flushed round, and
    cells of metrics that a kind does not have are empty.
    """

    def __init__(self, path: Path, fixed: Sequence[str], committed: Committed = NEW) -> None:
        self._path = path
        self._fixed = tuple(fixed)
        self._columns: tuple[str, ...] = ()
        self._metrics: dict[str, frozenset[str]] = {}
        self._rows: list[Mapping[str, object]] = []
        self._hash = hashlib.sha256()
        self.offset, digest = committed
        if self.offset:
            self._resume(digest)
        elif path.exists():
            path.unlink()

    def _resume(self, digest: str) -> None:
        """Cut the file to its committed length; RunError if its contents have changed."""
        whole = self._path.read_bytes()[: self.offset] if self._path.exists() else b""
        self._hash.update(whole)
        if self._hash.hexdigest() != digest:
            raise RunError(f"{self._path} is not what it was at the last commit. Start the run over with --fresh.")
        self._cut()
        self._columns = tuple(next(csv.reader(io.StringIO(whole.decode()))))

    def add(self, row: Mapping[str, object], metrics: Mapping[str, object] | None = None, kind: str = "") -> None:
        """Add one row; RunError names metrics that other rows of this kind do not have, or have besides."""
        names = frozenset(metrics or {})
        if taken := names & set(self._fixed):
            raise RunError(f"its metric {min(taken)!r} has the name of a column that is measured. Rename it.")
        odd = names ^ self._metrics.setdefault(kind, names)
        if self._columns:
            odd |= names - set(self._columns)
        if odd:
            names_odd = ", ".join(sorted(odd))
            raise RunError(f"its metrics differ from those of earlier turns in {names_odd}; report the same each time.")
        self._rows.append({**row, **(metrics or {})})

    def flush(self, *, last: bool = False) -> Committed:
        """Append the rows in memory; returns the length and digest of the file. The `last` time it is synced to disk.

        A table without rows has a header by then.
        """
        rows = self._text(header=not self.offset and bool(self._rows or last)).encode()
        try:
            with self._path.open("ab") as stream:
                stream.write(rows)
                stream.flush()
                if last:
                    os.fsync(stream.fileno())
        except OSError as error:
            self._cut()
            raise RunError(f"{self._path} could not be written: {error.strerror}.") from error
        self._rows.clear()
        self.offset += len(rows)
        self._hash.update(rows)
        return self.offset, self._hash.hexdigest()

    def _text(self, *, header: bool) -> str:
        text = io.StringIO(newline="")
        if header:
            self._columns = (*self._fixed, *sorted(frozenset[str]().union(*self._metrics.values())))
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(self._rows)
        return text.getvalue()

    def _cut(self) -> None:
        """Remove rows that were written in part."""
        with suppress(OSError), self._path.open("rb+") as stream:
            stream.truncate(self.offset)
