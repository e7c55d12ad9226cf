"""One aggregation of one node: messages in, payloads by channel and the node's new state out."""

from collections.abc import Iterable, Iterator, Mapping

from fedbench_core.api import SERVER, Aggregator, AggregatorState, Message, Payload, RoundContext
from fedbench_core.federation.blame import BlamedError, MisfitError, expect, label
from fedbench_core.federation.calls import Encoded, Stored
from fedbench_core.federation.files import Storage
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.node_state import NodeState, check_memory, copied
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.wire import check_finite, receive, send


class Published(Mapping[str, Payload]):
    """What a node published, by channel, decoded when it is read."""

    def __init__(self, run: ResolvedRun, stored: Mapping[str, Stored], storage: Storage) -> None:
        self._run, self._stored, self._storage = run, stored, storage

    def __getitem__(self, channel: str) -> Payload:
        return decoded(self._run, self._stored[channel], self._storage)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def decoded(run: ResolvedRun, stored: Stored, storage: Storage) -> Payload:
    """A stored payload, as its readers decode it."""
    blob = storage.read(stored.file)
    return receive(run, "downlink", blob) if stored.encoded else Payload.from_bytes(blob)


def load_state(
    run: ResolvedRun, kept: NodeState | None, published: Published, ctx: RoundContext, networks: Networks | None
) -> AggregatorState:
    """A node's state as its aggregator sees it, set up if it is new; without `networks` no network is loaded."""
    state = AggregatorState(ctx.node, published=published)
    if kept is None:
        with run.blaming("aggregator"):
            run.aggregator.setup(state, ctx)
        return state
    state.memory = copied(kept.memory, "cpu" if networks is None else ctx.device)
    if networks is not None:
        state.models, state.modules = networks.load_backbones(kept.models), networks.load_modules(kept.modules)
    return state


def reads_channels(run: ResolvedRun) -> bool:
    """Whether clients may read different channels."""
    return type(run.aggregator).channel is not Aggregator.channel


def channels(run: ResolvedRun, state: AggregatorState, ctx: RoundContext, clients: Iterable[int]) -> list[str]:
    """The channel that each of the clients reads from a node."""
    with run.blaming("aggregator"):
        names = [run.aggregator.channel(state, client, ctx) for client in clients]
        for name in names:
            expect(name, str, "what channel returned")
    return names


class Aggregation:
    """Adds messages one by one. With `networks` it runs in a worker, and the aggregator may build and train."""

    def __init__(
        self,
        run: ResolvedRun,
        kept: NodeState | None,
        published: Published,
        ctx: RoundContext,
        networks: Networks | None = None,
    ) -> None:
        self._run, self._ctx, self._networks = run, ctx, networks
        self._compressors = {} if kept is None else kept.compressors
        self._state = load_state(run, kept, published, ctx, networks)
        with run.blaming("aggregator"):
            self._accumulator = run.aggregator.start(self._state, ctx)

    def add(self, message: Message) -> None:
        """Add a message; an error names the local update that sent it, too."""
        try:
            with self._run.blaming("aggregator"):
                self._accumulator.add(message)
        except BlamedError as error:
            author = label("local_update", self._run.method.local_update)
            raise BlamedError(f"{error} (the messages are those of {author})") from error

    def finish(self) -> tuple[dict[str, Encoded], NodeState]:
        """What the node publishes, by channel, and its new state. The server encodes once per channel."""
        with self._run.blaming("aggregator"):
            result = self._accumulator.result()
            payloads: Mapping[str, Payload] = {"": result} if isinstance(result, Payload) else result
            expect(payloads, Mapping, "the result of its aggregation")
            self._check(payloads)
            state = self._new_state()
        encoded = {channel: self._encode(channel, payload) for channel, payload in sorted(payloads.items())}
        return encoded, state

    def _check(self, payloads: Mapping[str, Payload]) -> None:
        node, run = self._ctx.node, self._run
        clients = range(run.trained) if node == SERVER else [node]
        readers = set(channels(run, self._state, self._ctx, clients)) if reads_channels(run) else {""}
        for channel, payload in payloads.items():
            if channel not in readers:
                names = ", ".join(map(repr, sorted(readers)))
                raise MisfitError(f"it publishes on channel {channel!r}, which no client reads; clients read {names}")
            expect(payload, Payload, "the result of its aggregation")
            check_finite(payload, "its aggregate")

    def _encode(self, channel: str, payload: Payload) -> Encoded:
        if self._ctx.node != SERVER:
            blob = payload.to_bytes()
            return Encoded(blob, len(blob))
        memory = copied(self._compressors.get(channel, {}), self._ctx.device if self._networks else "cpu")
        sent = send(self._run, "downlink", payload, self._ctx, memory)
        self._compressors[channel] = copied(memory, "cpu")
        if sent.form is not None:  # find a faulty compressor before clients train on what it made
            receive(self._run, "downlink", sent.blob, sent.form)
        return sent

    def _new_state(self) -> NodeState:
        check_memory(self._state.memory)
        kept = NodeState(memory=self._state.memory, compressors=self._compressors)
        if self._networks is not None:
            kept.models = {role: self._networks.weights(net) for role, net in self._state.models.items()}
            kept.modules = {role: self._networks.weights(net) for role, net in self._state.modules.items()}
        elif self._state.models or self._state.modules:
            raise MisfitError("it keeps networks, but declares trains = False")
        return kept
