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

    The first row settles the columns behind the fixed ones; a later row with others is an error.
    """

    def __init__(self, path: Path, fixed: Sequence[str], committed: Committed = NEW) -> None:
        self._path = path
        self._fixed = tuple(fixed)
        self._columns: tuple[str, ...] = ()
        self._rows: list[list[object]] = []
        self._hash = hashlib.sha256()
        self.offset, digest = committed
        if self.offset:
            self._take_up(digest)
        elif path.exists():
            path.unlink()

    def _take_up(self, digest: str) -> None:
        """Cut the file to its committed length; RunError if its contents have changed."""
        whole = self._path.read_bytes()[: self.offset] if self._path.exists() else b""
        self._hash.update(whole)
        if self._hash.hexdigest() != digest:
            raise RunError(f"{self._path} is not what it was at the last commit. Start the run over with --fresh.")
        self._cut()
        self._columns = tuple(next(csv.reader(io.StringIO(whole.decode()))))

    def add(self, row: Mapping[str, object], extra: Mapping[str, object] | None = None) -> None:
        """Add one row: the fixed columns, then `extra` in alphabetical order."""
        columns = self._fixed + tuple(sorted(extra or {}))
        if not self._columns:
            self._columns = columns
            self._rows.append(list(columns))
        if columns != self._columns:
            odd = sorted(set(columns) ^ set(self._columns))
            raise RunError(
                f"its metrics differ from those of earlier turns in {', '.join(odd)}; report the same in each turn."
            )
        values = {**row, **(extra or {})}
        self._rows.append([values[name] for name in columns])

    def flush(self, *, last: bool = False) -> Committed:
        """Append the rows in memory; returns the length and digest of the file. The `last` time it is synced to disk.

        A table that has no row then still has columns.
        """
        if last and not self._columns:
            self._rows.append(list(self._fixed))
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(self._rows)
        rows = text.getvalue().encode()
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

    def _cut(self) -> None:
        """Remove rows that were written in part."""
        with suppress(OSError), self._path.open("rb+") as stream:
            stream.truncate(self.offset)
