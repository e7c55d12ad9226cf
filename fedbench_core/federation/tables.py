"""The CSV files of a run: appended round by round, cut back to the last committed round on resume."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fedbench_core.api import RunError

MESSAGES = ("round", "step", "sender", "receiver", "bytes", "bytes_dense")
VISITS = ("round", "step", "client", "samples", "bytes_up", "bytes_down", "bytes_peer")


class Table:
    """One CSV file. Rows wait in memory until `flush`, so that the file holds whole rounds only.

    The first row settles the columns behind the fixed ones; a later row with others is an error.
    """

    def __init__(self, path: Path, fixed: Sequence[str], offset: int = 0) -> None:
        self._path = path
        self._fixed = tuple(fixed)
        self._columns: tuple[str, ...] = ()
        self._rows: list[list[object]] = []
        self.offset = offset
        if offset:
            if not path.exists() or path.stat().st_size < offset:
                raise RunError(f"{path} is shorter than it was at the last commit. Start the run over with --fresh.")
            with path.open("rb+") as stream:
                stream.truncate(offset)
            with path.open(newline="", encoding="utf-8") as stream:
                self._columns = tuple(next(csv.reader(stream)))
        elif path.exists():
            path.unlink()

    def add(self, row: Mapping[str, object], extra: Mapping[str, object] | None = None) -> None:
        """Take in one row: the fixed columns, then `extra` in alphabetical order."""
        columns = self._fixed + tuple(sorted(extra or {}))
        if not self._columns:
            self._columns = columns
            self._rows.append(list(columns))
        if columns != self._columns:
            odd = sorted(set(columns) ^ set(self._columns))
            raise RunError(
                f"its metrics differ from those of earlier visits in {', '.join(odd)}; report the same each time."
            )
        values = {**row, **(extra or {})}
        self._rows.append([values[name] for name in columns])

    def flush(self, *, last: bool = False) -> int:
        """Append what waits; gives the length of the file. A table that has no row at the `last` still has columns."""
        if last and not self._columns:
            self._rows.append(list(self._fixed))
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(self._rows)
        try:
            with self._path.open("ab") as stream:
                stream.write(text.getvalue().encode())
        except OSError as error:
            self._cut()
            raise RunError(f"{self._path} could not be written: {error.strerror}.") from error
        self._rows.clear()
        self.offset += len(text.getvalue().encode())
        return self.offset

    def _cut(self) -> None:
        """Take back rows of which only a part was written."""
        with suppress(OSError), self._path.open("rb+") as stream:
            stream.truncate(self.offset)
