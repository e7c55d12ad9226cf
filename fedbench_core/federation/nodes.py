"""The server and the clients' inboxes: what they published, and the messages that arrive there in a phase."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from fedbench_core.api import SERVER, AggregatorState, Message, Node, Payload, RoundContext, RunError
from fedbench_core.federation import files
from fedbench_core.federation.aggregation import Aggregation, Published, channels, load_state, reads_channels
from fedbench_core.federation.blame import at
from fedbench_core.federation.calls import (
    OWN_WAY,
    AggregateCall,
    AggregateDone,
    Call,
    Encoded,
    Stored,
    StoredMessage,
    node_name,
)
from fedbench_core.federation.executors import Executor
from fedbench_core.federation.files import File
from fedbench_core.federation.generators import own_generator_for
from fedbench_core.federation.node_state import NodeState
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.store import Store
from fedbench_core.federation.wire import receive

PUBLISHED, STATE, MESSAGE = "published", "state", "message"
"""Kinds of files."""
_NODE = re.compile(r"-?\d{1,9}")


@dataclass
class Arrivals:
    """The messages of one phase by receiver: folded as they come, or stored if the aggregator trains."""

    ctx: RoundContext
    folds: dict[Node, Aggregation] = field(default_factory=dict)
    stored: defaultdict[Node, list[StoredMessage]] = field(default_factory=lambda: defaultdict(list))


class Nodes:
    """What each node published, by channel, and its state. dense: uncompressed bytes by channel of the server."""

    def __init__(self, run: ResolvedRun, store: Store, dense: dict[str, int]) -> None:
        self.dense = dense
        self._run = run
        self._store = store
        self._published: defaultdict[Node, dict[str, Stored]] = defaultdict(dict)
        for (kind, node, channel), file in store.files():
            if kind == PUBLISHED:
                if not _NODE.fullmatch(node):
                    raise RunError(f"This run can't be resumed: its journal names a node {node!r}. Use --fresh.")
                self._published[int(node)][channel] = self._stored(int(node), channel, file)

    def published(self, node: Node) -> dict[str, Stored]:
        """What a node has published, by channel."""
        return dict(self._published[node])

    def received(self, sources: Mapping[int, Node], ctx: RoundContext) -> dict[int, Stored | None]:
        """What each client receives from its source: what is published on the channel that the client reads."""
        readers: defaultdict[Node, list[int]] = defaultdict(list)
        for client, node in sources.items():
            readers[node].append(client)
        return {
            client: self._published[node].get(channel)
            for node, clients in readers.items()
            for client, channel in zip(clients, self._channels(node, clients, ctx), strict=True)
        }

    def _channels(self, node: Node, clients: Sequence[int], ctx: RoundContext) -> list[str]:
        if not reads_channels(self._run):
            return [""] * len(clients)
        kept, published, ctx = self._kept(node), self._payloads(node), replace(ctx, node=node)
        if kept is None and self._run.aggregator.trains:  # what it keeps is created in a worker
            state = AggregatorState(node, published=published)
        else:
            state = load_state(self._run, kept, published, ctx, None)
        return channels(self._run, state, ctx, clients)

    def add(self, arrivals: Arrivals, node: Node, sender: int, way: str, sent: Encoded, num_examples: float) -> None:
        """Take in a message for a node."""
        if self._run.aggregator.trains:
            key = (MESSAGE, str(node), f"{sender} {way}")
            file = self._store.put(key, sent.blob, arrivals.ctx.round, arrivals.ctx.phase)
            stored = Stored(file, encoded=way != OWN_WAY)
            arrivals.stored[node].append(StoredMessage(sender, stored, num_examples, sent.form))
            return
        if node not in arrivals.folds:
            ctx = replace(arrivals.ctx, node=node)
            with _own_generator(ctx, "start"):
                arrivals.folds[node] = Aggregation(self._run, self._kept(node), self._payloads(node), ctx)
        payload = self._receive(way, sent)
        arrivals.folds[node].add(Message(sender, payload, num_examples))

    def aggregate(self, arrivals: Arrivals, executor: Executor) -> Iterator[AggregateDone]:
        """Aggregate at every node that received messages; the result is what their readers receive from now on."""
        ctx = arrivals.ctx
        for node in sorted(arrivals.folds):
            with at(f"{node_name(node)}, round {ctx.round}"):
                with _own_generator(replace(ctx, node=node), "result"):
                    encoded, state = arrivals.folds[node].finish()
                yield self._keep(AggregateDone(node, self._put_state(node, state, ctx), encoded), ctx)
        for done in executor.run(self._calls(arrivals)):
            if not isinstance(done, AggregateDone):
                raise TypeError(type(done))
            yield self._keep(done, ctx)
        self._store.drop(MESSAGE)

    def _receive(self, way: str, sent: Encoded) -> Payload:
        if way == OWN_WAY:
            return Payload.from_bytes(sent.blob)
        return receive(self._run, "compressor", sent.blob, sent.form)

    def _calls(self, arrivals: Arrivals) -> Iterable[Call]:
        ctx = arrivals.ctx
        for node, messages in sorted(arrivals.stored.items()):
            key = (STATE, str(node), "")
            yield AggregateCall(
                node=node,
                round=ctx.round,
                phase=ctx.phase,
                kind=ctx.kind,
                state=self._store.get(key),
                published=self.published(node),
                messages=tuple(messages),
                state_path=self._store.path(key, ctx.round, ctx.phase),
            )

    def _keep(self, done: AggregateDone, ctx: RoundContext) -> AggregateDone:
        """Store what a node published, and its state."""
        for channel, sent in done.encoded.items():
            file = self._store.put((PUBLISHED, str(done.node), channel), sent.blob, ctx.round, ctx.phase)
            if done.node == SERVER:
                self.dense[channel] = sent.bytes_dense
            self._published[done.node][channel] = self._stored(done.node, channel, file)
        if done.state is not None:
            self._store.keep((STATE, str(done.node), ""), done.state)
        return done

    def _stored(self, node: Node, channel: str, file: File) -> Stored:
        return Stored(file, encoded=node == SERVER, bytes_dense=self.dense.get(channel, 0))

    def _put_state(self, node: Node, state: NodeState, ctx: RoundContext) -> File | None:
        """Store a state; also an empty one that replaces another."""
        key = (STATE, str(node), "")
        if not state and self._store.get(key) is None:
            return None
        return self._store.put(key, state.to_bytes(), ctx.round, ctx.phase)

    def _kept(self, node: Node) -> NodeState | None:
        file = self._store.get((STATE, str(node), ""))
        return None if file is None else NodeState.from_bytes(files.read(file))

    def _payloads(self, node: Node) -> Published:
        return Published(self._run, self._published[node], files)


def _own_generator(ctx: RoundContext, what: str) -> AbstractContextManager[None]:
    """The global generators of an aggregation in this process."""
    return own_generator_for(ctx.seed, what, ctx.node, ctx.round, ctx.phase)
