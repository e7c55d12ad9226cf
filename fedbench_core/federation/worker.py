"""What a worker computes: (state, received bytes, context) -> (new state, sent bytes, metrics), a pure function."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from fedbench_core.api import (
    Client,
    Examples,
    Message,
    Payload,
    RoundContext,
    torch_seed,
)
from fedbench_core.api.resident import spare_bytes
from fedbench_core.federation import files
from fedbench_core.federation.aggregation import Aggregation, Published, load_state
from fedbench_core.federation.blame import at, enough_memory
from fedbench_core.federation.calls import (
    OWN_WAY,
    AggregateCall,
    AggregateDone,
    Call,
    Done,
    Encoded,
    KeptModel,
    PredictCall,
    PredictDone,
    Predictions,
    Stored,
    TurnCall,
    TurnDone,
)
from fedbench_core.federation.files import File, Storage
from fedbench_core.federation.generators import own_generator
from fedbench_core.federation.kept import keep
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.node_state import NodeState, check_memory, copied
from fedbench_core.federation.partition import Partition, training_partition
from fedbench_core.federation.predictor import Predictor
from fedbench_core.federation.recent_states import RecentStates
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.returned import checked_predictors, trained, watched_tensors
from fedbench_core.federation.wire import receive, send


class Worker:
    """Computes calls in one process; keeps nothing between calls that a result could depend on.

    storage: where states and payloads are; the disk by default.
    """

    def __init__(self, run: ResolvedRun, partition: Partition, storage: Storage = files) -> None:
        spec = run.spec
        self._run = run
        self._storage = storage
        self._partition = partition
        self._training = training_partition(run, partition)
        self._networks = networks_of(run, partition)
        self._predictor = Predictor(spec.device, partition.splits)
        self._received: tuple[str, Payload] = ("", Payload({}))
        self._recent = RecentStates(spare_bytes(spec.device))
        self._base = base_context(run, partition, self._networks)

    def do(self, call: Call) -> Done:
        """The outcome of one call; RunError names client, round, part and plugin, whatever a plugin raised."""
        spec = self._run.spec
        what = "the aggregation" if isinstance(call, AggregateCall) else self._run.backbone(max(call.client, 0))
        try:
            with (
                at(call.label),
                enough_memory(what, spec.batch_size),
                own_generator(_seed(spec.seed, call), spec.device),
            ):
                self._networks.forwards()
                if isinstance(call, TurnCall):
                    return self._turn(call)
                return self._aggregate(call) if isinstance(call, AggregateCall) else self._predict(call)
        finally:
            self._networks.recall()

    def _turn(self, call: TurnCall) -> TurnDone:
        ctx = self._of_client(call, phase=call.phase, kind=call.kind)
        kept = self._state(call.state)
        client = self._client(call, kept, ctx)
        received = self._receive(call.received)
        with self._run.blaming("local_update"):
            update = trained(self._run.local_update, client, received, ctx)
            state = self._kept(client, kept)
        encoded = {} if update.payload is None else self._encode(call, update.payload, ctx, state)
        file = None
        if state or call.state is not None:  # also an empty state that replaces another
            file = self._storage.write(call.state_path, state.to_bytes())
            self._recent.put(file.digest, state)
        metrics = dict(update.metrics)
        return TurnDone(call.client, update.num_examples, metrics, file, encoded, self._networks.forwards())

    def _encode(self, call: TurnCall, payload: Payload, ctx: RoundContext, state: NodeState) -> dict[str, Encoded]:
        """The update for each way it goes: as it is for the own inbox, through the wire for other nodes."""
        encoded = {}
        for way in call.ways:
            if way == OWN_WAY:
                blob = payload.to_bytes()
                encoded[way] = Encoded(blob, len(blob))
            else:
                memory = copied(state.compressors.get(way, {}), ctx.device)
                encoded[way] = send(self._run, "compressor", payload, ctx, memory)
                if memory:
                    state.compressors[way] = copied(memory, self._keeps_on)
                else:
                    state.compressors.pop(way, None)
        return encoded

    def _aggregate(self, call: AggregateCall) -> AggregateDone:
        started = time.perf_counter()
        ctx = replace(self._base, round=call.round, phase=call.phase, kind=call.kind, node=call.node)
        published = Published(self._run, call.published, self._storage)
        kept = self._state(call.state)
        aggregation = Aggregation(self._run, kept, published, ctx, self._networks)
        for message in call.messages:
            aggregation.add(Message(message.sender, self._message(message.stored, message.form), message.num_examples))
        encoded, state = aggregation.finish()
        state.memory = copied(state.memory, "cpu")
        file = self._storage.write(call.state_path, state.to_bytes()) if state or call.state is not None else None
        return AggregateDone(call.node, file, encoded, self._networks.forwards(), time.perf_counter() - started)

    def _message(self, stored: Stored, form: Mapping[str, str] | None) -> Payload:
        blob = self._storage.read(stored.file)
        payload = receive(self._run, "compressor", blob, form) if stored.encoded else Payload.from_bytes(blob)
        return self._on_device(payload)

    def _predict(self, call: PredictCall) -> PredictDone:
        ctx = replace(self._base, round=call.round) if call.of == "server" else self._of_client(call)
        nets, made = self._predictors(call, ctx)
        forwards = self._networks.forwards()  # of `predictors`; to run them on a split is no cost of the method
        predictions: dict[str, Predictions] = {}
        kept: dict[str, KeptModel] = {}
        for role, net in nets.items():
            with self._run.blaming("aggregator" if call.of == "server" else "local_update"):
                predictions[role] = self._predictor.predict(net, call.split)
            if call.keep is not None:
                path = call.keep.with_name(f"{len(kept)}-{call.keep.name}")
                kept[role] = keep(net, self._networks, self._run.modules, self._storage, path)
        return PredictDone(call, predictions, forwards, kept, made)

    def _predictors(self, call: PredictCall, ctx: RoundContext) -> tuple[Mapping[str, nn.Module], frozenset[str]]:
        """The models of a call by role, and the roles of those that were made from the received payload."""
        if call.of == "server":
            published = Published(self._run, call.published, self._storage)
            state = load_state(self._run, self._state(call.state), published, ctx, self._networks)
            with self._run.blaming("aggregator"):
                return checked_predictors(self._run.aggregator.predictors(state, ctx)), frozenset()
        received, watched = watched_tensors(self._receive(call.received))
        update = self._run.local_update
        if call.of == "received":
            with self._run.blaming("local_update"):
                nets = checked_predictors(update.global_predictors(received, call.backbone, ctx))
            own: list[nn.Module] = []
        else:
            client = self._client(call, self._state(call.state), ctx)
            with self._run.blaming("local_update"):
                nets = checked_predictors(update.predictors(client, received, ctx))
            own = [*client.models.values(), *client.modules.values()]
        made = {role for role, net in nets.items() if watched.read and not any(net is one for one in own)}
        return nets, frozenset(made)

    def _of_client(self, call: TurnCall | PredictCall, **changes: Any) -> RoundContext:
        """The moment of a call as its client sees it, with the class weights of the client's training images."""
        ctx = replace(self._base, round=call.round, node=call.client, **changes)
        return with_class_weights(ctx, self._images(call).examples("train", call.client))

    def _images(self, call: TurnCall | PredictCall) -> Partition:
        """The partition of a call's client: where clients personalize a model that was trained centrally, their own."""
        own = isinstance(call, PredictCall) and self._run.local_update.personalizes
        return self._partition if own else self._training

    def _client(self, call: TurnCall | PredictCall, kept: NodeState | None, ctx: RoundContext) -> Client:
        """The client as its last turn left it, or set up for its first."""
        images = self._images(call)
        train, val = (images.examples(split, call.client).on(ctx.device) for split in ("train", "val"))
        client = Client(call.client, self._run.backbone(call.client), train, val)
        client.turns, client.last_round = call.turns, call.last_round
        if kept is None:
            with self._run.blaming("local_update"):
                self._run.local_update.setup(client, replace(ctx, round=0, phase=0))
            return client
        client.models = self._networks.load_backbones(kept.models)
        client.modules = self._networks.load_modules(kept.modules)
        client.memory = copied(kept.memory, ctx.device)
        return client

    def _kept(self, client: Client, before: NodeState | None) -> NodeState:
        """What is stored of a client after its turn."""
        check_memory(client.memory)
        return NodeState(
            {role: self._networks.weights(net, self._keeps_on) for role, net in client.models.items()},
            {role: self._networks.weights(net, self._keeps_on) for role, net in client.modules.items()},
            copied(client.memory, self._keeps_on),
            {} if before is None else dict(before.compressors),
        )

    @property
    def _keeps_on(self) -> str:
        """The device of a new state until it is written."""
        return self._run.spec.device if self._recent.enabled else "cpu"

    def _state(self, file: File | None) -> NodeState | None:
        if file is None:
            return None
        recent = self._recent.get(file.digest)
        return NodeState.from_bytes(self._storage.read(file)) if recent is None else recent

    def _receive(self, stored: Stored | None) -> Payload | None:
        """A published payload, decoded; the last one is kept, because many clients receive the same."""
        if stored is None:
            return None
        if self._received[0] != stored.file.digest:
            blob = self._storage.read(stored.file)
            payload = receive(self._run, "downlink", blob) if stored.encoded else Payload.from_bytes(blob)
            self._received = (stored.file.digest, self._on_device(payload))
        return self._received[1]

    def _on_device(self, payload: Payload) -> Payload:
        device = self._run.spec.device
        return replace(payload, tensors={name: tensor.to(device) for name, tensor in payload.tensors.items()})


def networks_of(run: ResolvedRun, partition: Partition) -> Networks:
    """Networks for the images of a run."""
    spec = run.spec
    return Networks(
        run.architectures, run.modules, partition.splits, spec.seed, spec.device, spec.normalization or "half"
    )


def base_context(run: ResolvedRun, partition: Partition, networks: Networks | None = None) -> RoundContext:
    """The context of the server in round 0; with `networks` it can build."""
    spec = run.spec
    ctx = RoundContext(
        *(0, spec.rounds, 0, spec.seed, partition.splits.task.under(spec.training), spec.training),
        device=spec.device,
        backbones=run.backbones,
        public=None if partition.public is None else partition.public.on(spec.device),
    )
    return ctx if networks is None else replace(ctx, builder=networks)


def with_class_weights(ctx: RoundContext, train: Examples) -> RoundContext:
    """The context of the client that has these training images, if the recipe balances their classes."""
    if ctx.training.class_weights == "none":
        return ctx
    return replace(ctx, task=ctx.task.balanced(train.targets()))


def _seed(seed: int, call: Call) -> int:
    """The seed of torch's global generator in a call."""
    if isinstance(call, TurnCall):
        return torch_seed(seed, "torch", call.client, call.round, call.phase)
    if isinstance(call, AggregateCall):
        return torch_seed(seed, "torch", "aggregate", call.node, call.round, call.phase)
    return torch_seed(seed, "score", call.client, call.round)
