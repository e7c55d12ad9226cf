"""The hub and the desks: what lies there, and the merges that change it."""

from collections.abc import Mapping

from fedbench_core.api import HUB, Merge, Payload, Place, RoundContext
from fedbench_core.federation.calls import Heard
from fedbench_core.federation.files import read
from fedbench_core.federation.kept import Kept
from fedbench_core.federation.setting import Setting
from fedbench_core.federation.store import Store
from fedbench_core.federation.wire import decode, encode


def _name(place: Place) -> str:
    return "hub" if place == HUB else f"desk-{place}"


class Places:
    """What lies where, at rest in the store. `dense` is the uncompressed length of what lies at the hub, in bytes."""

    def __init__(self, setting: Setting, store: Store, dense: int = 0) -> None:
        self._setting = setting
        self._store = store
        self.dense = dense

    def heard(self, place: Place) -> Heard | None:
        """What a visitor to `place` hears."""
        file = self._store.get(_name(place))
        return None if file is None else Heard(file, encoded=place == HUB)

    def open(self, place: Place, ctx: RoundContext) -> "OpenPlace":
        """Start a merge of the letters written to `place`."""
        memory = self._store.get(f"{_name(place)}-memory")
        kept = Kept() if memory is None else Kept.from_bytes(read(memory))
        return OpenPlace(self._setting.aggregator.open(ctx, kept.memory, self._standing(place)), kept)

    def close(self, merges: Mapping[Place, "OpenPlace"], ctx: RoundContext) -> None:
        """Close the merges of a step; the hub encodes, once, for all who will read."""
        for place in sorted(merges):
            merge, kept = merges[place].merge, merges[place].kept
            payload = merge.close()
            if place == HUB:
                sent = encode(self._setting.downlink, payload, ctx, kept.sent)
                blob, self.dense = sent.blob, sent.bytes_dense
            else:
                blob = payload.to_bytes()
            self._store.put(_name(place), blob, ctx.round, ctx.step)
            if kept:
                self._store.put(f"{_name(place)}-memory", kept.to_bytes(), ctx.round, ctx.step)

    def _standing(self, place: Place) -> Payload | None:
        """What lies at a place, as its readers decode it."""
        heard = self.heard(place)
        if heard is None:
            return None
        blob = read(heard.file)
        return decode(self._setting.downlink, blob) if heard.encoded else Payload.from_bytes(blob)


class OpenPlace:
    """A merge that is under way, and the memories of its place."""

    def __init__(self, merge: Merge, kept: Kept) -> None:
        self.merge = merge
        self.kept = kept
