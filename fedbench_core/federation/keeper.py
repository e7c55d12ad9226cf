"""Which models a run keeps: those that were scored on the test images, after the last round and the selected one.

The selected round is the one with the best validation score; test scores choose nothing.
"""

from pathlib import Path
from typing import Any, Literal

from fedbench_core.federation.calls import KeptModel, PredictDone
from fedbench_core.federation.progress import Progress
from fedbench_core.federation.store import Key, Store

Keep = Literal["auto", "models", "none"]
KEEPS: tuple[Keep, ...] = ("auto", "models", "none")
SMALL_BYTES = 128 * 2**20
"""The models of one round are kept by default up to this size; a model that clients have in common counts once."""
LAST, SELECTED = "last", "selected"
"""The two rounds whose models are kept; they are kinds of files, too."""
NOT_WANTED = "the run was made with --keep none"
_TOO_LARGE = f"they are larger than {SMALL_BYTES // 2**20} MB together; run with --keep models to keep them"


class Keeper:
    """Stores models while they are scored, and what is known of them in `progress.models`; equal ones are stored once.

    `progress.models` has an entry per round that is kept, with its `round`, its `models` and the `reason` if there are
    none.
    """

    def __init__(self, store: Store, progress: Progress, keep: Keep) -> None:
        self._store = store
        self._kept = progress.models
        self._keep = keep
        self._bytes = 0
        self._files: dict[str, str] = {}

    def start(self, which: str, round_: int) -> None:
        """Begin with the models of a round, which replace those that were stored as `which`."""
        self._store.drop(which)
        self._bytes, self._files = 0, {}
        too_large = any(kept["reason"] == _TOO_LARGE for kept in self._kept.values())
        self._kept[which] = {"round": round_, "models": [], "reason": ""}
        if self._keep == "none":
            self._leave(which, NOT_WANTED)
        elif self._keep == "auto" and too_large:
            self._leave(which, _TOO_LARGE)

    def path(self, which: str, number: int) -> Path | None:
        """Where the models of the call `number` are to be written; None if they are not kept."""
        if self._kept[which]["reason"]:
            return None
        return self._store.path((which, str(number), ""), self._kept[which]["round"], 0)

    def take(self, which: str, number: int, done: PredictDone) -> None:
        """Take over the models that were written in a call."""
        for role, model in done.kept.items():
            if self._kept[which]["reason"]:
                _remove(model)
                continue
            digest = done.predictions[role].digest
            self._take_file((which, f"{number} {role}", ""), digest, model)
            entry: dict[str, Any] = {"role": role, "of": done.call.of, "clients": list(done.call.clients)}
            entry |= {"digest": digest, "network": dict(model.network), "reason": model.reason}
            entry["file"] = None if model.reason else self._files[digest]
            self._kept[which]["models"].append(entry)
        if self._keep == "auto" and self._bytes > SMALL_BYTES:
            self._leave(which, _TOO_LARGE)

    def _take_file(self, key: Key, digest: str, model: KeptModel) -> None:
        """Store the file of a model, unless an equal model is stored already."""
        if model.file is None or digest in self._files:
            _remove(model)
            return
        self._store.keep(key, model.file)
        self._files[digest] = model.file.path.name
        self._bytes += model.size

    def _leave(self, which: str, reason: str) -> None:
        """Keep nothing of a round."""
        self._store.drop(which)
        self._kept[which] |= {"models": [], "reason": reason}


def _remove(model: KeptModel) -> None:
    if model.file is not None:
        model.file.path.unlink(missing_ok=True)
