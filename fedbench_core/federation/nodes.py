"""The server and the inboxes: what lies there, and the merges that change it."""

from collections.abc import Mapping

from fedbench_core.api import SERVER, Accumulator, Message, Payload, Place, RoundContext
from fedbench_core.federation.blame import BlamedError, expect, label
from fedbench_core.federation.calls import Received
from fedbench_core.federation.files import read
from fedbench_core.federation.node_state import Kept, check_memory
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.store import Store
from fedbench_core.federation.wire import check_finite, receive, send


def _name(place: Place) -> str:
    return "server" if place == SERVER else f"inbox-{place}"


class Places:
    """What lies where, at rest in the store. `dense` is the uncompressed length of what lies at the server, in bytes."""

    def __init__(self, setting: ResolvedRun, store: Store, dense: int = 0) -> None:
        self._setting = setting
        self._store = store
        self.dense = dense

    def received(self, place: Place) -> Received | None:
        """What a visitor to `place` hears."""
        file = self._store.get(_name(place))
        return None if file is None else Received(file, encoded=place == SERVER)

    def open(self, place: Place, ctx: RoundContext) -> "OpenPlace":
        """Start a merge of the messages written to `place`."""
        memory = self._store.get(f"{_name(place)}-memory")
        kept = Kept() if memory is None else Kept.from_bytes(read(memory))
        standing = self._standing(place)
        with self._setting.blaming("aggregator"):
            return OpenPlace(self._setting.aggregator.open(ctx, kept.memory, standing), kept)

    def add(self, place: "OpenPlace", message: Message) -> None:
        """Take a message into a merge; an error names whose messages they are, too."""
        try:
            with self._setting.blaming("aggregator"):
                place.merge.add(message)
        except BlamedError as error:
            author = label("local_update", self._setting.method.local_update)
            raise BlamedError(f"{error} (the messages are those of {author})") from error

    def close(self, merges: Mapping[Place, "OpenPlace"], ctx: RoundContext) -> tuple[str, ...]:
        """Close the merges of a step; the server encodes, once, for all who will read.

        Gives what the downlink says of that.
        """
        notes: tuple[str, ...] = ()
        for place in sorted(merges):
            kept = merges[place].kept
            with self._setting.blaming("aggregator"):
                payload = merges[place].merge.close()
                expect(payload, Payload, "what its merge came to")
                check_finite(payload, "its merge")
                check_memory(kept.memory)
            if place == SERVER:
                sent = send(self._setting, "downlink", payload, ctx, kept.sent)
                if sent.form is not None:  # before anybody works on what it is not
                    receive(self._setting, "downlink", sent.blob, sent.form)
                blob, self.dense, notes = sent.blob, sent.bytes_dense, sent.notes
            else:
                blob = payload.to_bytes()
            self._store.put(_name(place), blob, ctx.round, ctx.step)
            if kept:
                self._store.put(f"{_name(place)}-memory", kept.to_bytes(), ctx.round, ctx.step)
        return notes

    def _standing(self, place: Place) -> Payload | None:
        """What lies at a place, as its readers decode it."""
        received = self.received(place)
        if received is None:
            return None
        blob = read(received.file)
        return receive(self._setting, "downlink", blob) if received.encoded else Payload.from_bytes(blob)


class OpenPlace:
    """A merge that is under way, and the memories of its place."""

    def __init__(self, merge: Accumulator, kept: Kept) -> None:
        self.merge = merge
        self.kept = kept
