"""State at rest: one file per party, and a journal that says which generation of each is the committed one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbench_core.api import RunError
from fedbench_core.federation.calls import File
from fedbench_core.federation.files import replace_file, write

JOURNAL = "journal.json"


class Store:
    """Files by key (`client-3`, `hub`, ...). A generation is removed when a later one has been committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, File] = {}
        self._committed: set[Path] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder} could not be made: {error.strerror}. Give another --out.") from error

    def path(self, key: str, round_: int, step: int) -> Path:
        """Where the next generation of `key` is to be written."""
        return self._folder / f"{key}.{round_}.{step}.safetensors"

    def get(self, key: str) -> File | None:
        """The newest generation, if there is one."""
        return self._files.get(key)

    def put(self, key: str, blob: bytes, round_: int, step: int) -> None:
        """Write the next generation."""
        self.keep(key, write(self.path(key, round_, step), blob))

    def keep(self, key: str, file: File) -> None:
        """Take over a generation that somebody else wrote; the one before goes, unless it is the committed one."""
        before = self._files.get(key)
        self._files[key] = file
        if before is not None and before.path != file.path and before.path not in self._committed:
            before.path.unlink(missing_ok=True)

    def commit(self, progress: Mapping[str, Any], *, durable: bool = False) -> None:
        """Make the present generation the one to resume from: a rename, then the one before is removed."""
        files = {key: [file.path.name, file.digest] for key, file in sorted(self._files.items())}
        journal = json.dumps({**progress, "files": files}, sort_keys=True)
        replace_file(self._folder / JOURNAL, journal.encode(), durable=durable)
        present = {file.path for file in self._files.values()}
        for path in self._committed - present:
            path.unlink(missing_ok=True)
        self._committed = present

    def clear(self) -> None:
        """Remove everything: the run is recorded."""
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()
