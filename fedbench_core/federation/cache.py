"""What a worker remembers of the clients it trained last, so that their state need not be read again."""

from collections import OrderedDict
from pathlib import Path

from fedbench_core.federation import files
from fedbench_core.federation.calls import File
from fedbench_core.federation.files import Storage
from fedbench_core.federation.node_state import Kept

BOUND_BYTES = 2**28


class StateCache:
    """Client states by the file they are for; bounded in bytes, the least recently used goes first.

    A held state has no file yet: it stays until it is asked for, and counts towards the bound.
    """

    def __init__(self, bound_bytes: int = BOUND_BYTES, storage: Storage = files) -> None:
        self._storage = storage
        self._bound = bound_bytes
        self._bytes = 0
        self._held: dict[Path, Kept] = {}
        self._written: OrderedDict[Path, Kept] = OrderedDict()

    def get(self, file: File) -> Kept:
        """The state that is (to be) in `file`, from memory or from where it rests. Copy what you change."""
        kept = self._held.get(file.path, self._written.get(file.path))
        return Kept.from_bytes(self._storage.read(file)) if kept is None else kept

    def put(self, path: Path, kept: Kept, *, hold: bool) -> File:
        """Take in a state: written to `path`, or only held in memory if that is allowed and there is room."""
        kept.check()  # also what is only held: whether a turn fails must not depend on where its state rests
        size = kept.nbytes
        while self._bytes + size > self._bound and self._written:
            self._bytes -= self._written.popitem(last=False)[1].nbytes
        room = self._bytes + size <= self._bound
        file = File(path, "", held=True) if hold and room else self._storage.write(path, kept.to_bytes())
        if room:
            (self._held if file.held else self._written)[path] = kept
            self._bytes += size
        return file

    def drop(self, file: File) -> None:
        """Forget a state that a later one has replaced."""
        kept = self._held.pop(file.path, None) or self._written.pop(file.path, None)
        self._bytes -= 0 if kept is None else kept.nbytes
