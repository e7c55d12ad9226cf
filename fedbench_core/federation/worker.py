"""The pure function of a run: (client state, received bytes, context) -> (client state, said bytes, metrics)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real

from torch import Tensor, nn

from fedbench_core.api import Client, LocalUpdate, Memory, Payload, RoundContext, RunError, Update, torch_seed
from fedbench_core.federation import files
from fedbench_core.federation.blame import at, expect
from fedbench_core.federation.cache import StateCache
from fedbench_core.federation.calls import Call, Done, Received, ScoreCall, ScoreDone, TurnCall, TurnDone
from fedbench_core.federation.files import Storage
from fedbench_core.federation.lending import Lender, load, own_generator, snapshot
from fedbench_core.federation.node_state import Kept, check_memory, copied
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.scoring import Scorer
from fedbench_core.federation.wire import check_finite, receive, send


class Worker:
    """Does turns and scorings in one process; keeps nothing that a result could depend on.

    storage: where states and messages rest; the disk, if nothing is given.
    """

    def __init__(self, setting: ResolvedRun, shares: Partition, storage: Storage = files) -> None:
        self._storage = storage
        self._setting = setting
        self._shares = shares
        self._lender = Lender(setting.architectures, shares.splits, setting.spec.seed, setting.spec.device)
        self._scorer = Scorer(setting.spec.device, shares)
        self._states = StateCache(storage=self._storage)
        self._broadcast: tuple[str, Payload] = ("", Payload({}))

    def do(self, call: Call) -> Done:
        """One call; RunError names client, round, part and plugin, whatever a plugin raised or gave."""
        seed = _torch_seed(self._setting.spec.seed, call)
        try:
            with at(f"client {call.client}, round {call.round}"), own_generator(seed, self._setting.spec.device):
                return self._turn(call) if isinstance(call, TurnCall) else self._score(call)
        finally:
            self._lender.recall()

    def context(self, round_: int, step: int) -> RoundContext:
        """The moment of a turn."""
        return context(self._setting, self._shares, round_, step, self._lender)

    def _turn(self, call: TurnCall) -> TurnDone:
        ctx = self.context(call.round, call.step)
        client, sent_memory = self._enter(call, ctx)
        received = self._hear(call.received)
        with self._setting.blaming("local_update"):
            reply = _updated(self._setting.local_update, client, received, ctx)
            left = reply.payload.to_bytes() if call.own and reply.payload is not None else None
            check_memory(client.memory)
            models = {role: (net.name, snapshot(net)) for role, net in client.models.items()}
        sent = None
        if call.remote and reply.payload is not None:
            sent = send(self._setting, "compressor", reply.payload, ctx, sent_memory)
        kept = Kept(models, copied(client.memory, "cpu"), copied(sent_memory, "cpu"))
        rests = kept or call.state is not None  # also a state that is empty now: it takes the place of the last
        state = self._states.put(call.rests, kept, hold=call.hold) if rests else None
        if call.state is not None:
            self._states.drop(call.state)
        return TurnDone(
            call.client,
            reply.weight,
            dict(reply.metrics),
            state,
            None if sent is None else sent.blob,
            left,
            0 if sent is None else sent.bytes_dense,
            None if sent is None else sent.form,
            () if sent is None else sent.notes,
        )

    def _score(self, call: ScoreCall) -> ScoreDone:
        ctx = self.context(call.round, 0)
        client, _ = self._enter(call, ctx)
        received = self._hear(call.received)
        with self._setting.blaming("local_update"):
            nets = self._setting.local_update.predictors(client, received, ctx)
            _check_predictors(nets)
            roles = {role: self._scorer.score(net, call.split, call.share) for role, net in nets.items()}
        return ScoreDone(call.client, call.share, roles)

    def _enter(self, call: Call, ctx: RoundContext) -> tuple[Client, Memory]:
        """The client as it was left, or set up for the first time; and the memory of its compressor."""
        centralized = self._setting.method.data == "centralized"
        train, val = (
            (self._shares.centralized(split) if centralized else self._shares.examples(split, call.client)).on(
                ctx.device
            )
            for split in ("train", "val")
        )
        client = Client(call.client, self._setting.backbone(call.client), train, val)
        if call.state is None:
            with self._setting.blaming("local_update"):
                self._setting.local_update.setup(client, ctx)
            return client, {}
        kept = self._states.get(call.state)
        for role, (backbone, weights) in kept.models.items():
            client.models[role] = self._lender.lend(backbone)
            load(client.models[role], weights)
        client.memory = copied(kept.memory, ctx.device)
        return client, copied(kept.sent, ctx.device)

    def _hear(self, received: Received | None) -> Payload | None:
        """What was left, decoded; the last broadcast is decoded once."""
        if received is None:
            return None
        if self._broadcast[0] == received.file.digest:
            return self._broadcast[1]
        blob = self._storage.read(received.file)
        payload = receive(self._setting, "downlink", blob) if received.encoded else Payload.from_bytes(blob)
        payload = replace(payload, tensors={k: v.to(self._setting.spec.device) for k, v in payload.tensors.items()})
        self._broadcast = (received.file.digest, payload)
        return payload


def context(
    setting: ResolvedRun, shares: Partition, round_: int, step: int, lender: Lender | None = None
) -> RoundContext:
    """The moment of a turn, or (without a lender) of a merge."""
    spec = setting.spec
    task, clients = shares.splits.task, setting.trained
    ctx = RoundContext(round_, spec.rounds, step, spec.seed, task, spec.training, spec.device, clients=clients)
    return ctx if lender is None else replace(ctx, build=lender.build)


def _torch_seed(seed: int, call: Call) -> int:
    """What torch's global generator starts from in a call."""
    if isinstance(call, TurnCall):
        return torch_seed(seed, "torch", call.client, call.round, call.step)
    return torch_seed(seed, "score", call.client, call.round)


def _versions(payload: Payload | None) -> list[int]:
    return [] if payload is None else [tensor._version for tensor in payload.tensors.values()]  # noqa: SLF001 - torch has no public name for it


def _updated(update: LocalUpdate, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
    """A reply that can travel; RunError for one that cannot, or where what was received has changed."""
    versions = _versions(received)
    reply = update.train(client, received, ctx)
    if _versions(received) != versions:
        raise RunError("it changed the payload it received, which others hear too. Clone the tensors first.")
    expect(reply, Update, "what update gave")
    if not (isinstance(reply.weight, int | float) and 0 <= reply.weight < math.inf):
        raise RunError(f"its reply has weight {reply.weight}; expected the number of training samples")
    for name, value in reply.metrics.items():
        expect(value, Real, f"its metric {name!r}")
    if reply.payload is not None:
        _check_payload(reply.payload)
        check_finite(reply.payload, "its update", "Try a smaller --lr, or --optimizer adam --lr 0.001.")
    return reply


def _check_payload(payload: Payload) -> None:
    expect(payload, Payload, "its reply's payload")
    for name, tensor in payload.tensors.items():
        expect(tensor, Tensor, f"its payload's {name!r}")
    for key, word in payload.meta.items():
        expect(word, str, f"its payload's meta {key!r}")


def _check_predictors(nets: Mapping[str, nn.Module]) -> None:
    expect(nets, Mapping, "what predictors gave")
    if not nets:
        raise RunError("predictors gave no model; the first is what the client would deploy now")
    for role, net in nets.items():
        expect(net, nn.Module, f"predictor {role!r}")
