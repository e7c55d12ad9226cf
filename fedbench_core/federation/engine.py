"""The loop of every method. In each phase of a round: receive, train, send, aggregate. Then evaluate and commit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from fedbench_core.api import SERVER, Node, Phase, RoundContext, RunError, Turn
from fedbench_core.federation.blame import at
from fedbench_core.federation.calls import OWN_WAY, PEER_WAY, SERVER_WAY, Call, Stored, TurnCall, TurnDone
from fedbench_core.federation.evaluator import Evaluator
from fedbench_core.federation.executors import Executor
from fedbench_core.federation.generators import own_generator_for
from fedbench_core.federation.keeper import Keep
from fedbench_core.federation.nodes import Arrivals, Nodes
from fedbench_core.federation.participation import participating
from fedbench_core.federation.partition import Partition, training_partition
from fedbench_core.federation.periods import window
from fedbench_core.federation.plans import planned
from fedbench_core.federation.progress import Event, Progress, Watch
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.store import Store
from fedbench_core.federation.tables import CLIENT_COLUMNS, MESSAGE_COLUMNS, NEW, Table
from fedbench_core.federation.worker import base_context

CLIENT = "client"
"""The kind of a client's state file."""


class Engine:
    """Runs one federation into a run folder, from where `progress` left off.

    stamp: goes into every journal, so that a resumed run can be checked against it; keep: whether models are kept.
    """

    def __init__(
        self,
        run: ResolvedRun,
        partition: Partition,
        executor: Executor,
        store: Store,
        folder: Path,
        progress: Progress,
        stamp: Mapping[str, Any],
        keep: Keep = "none",
    ) -> None:
        self._run = run
        self._partition = partition
        self._training = training_partition(run, partition)
        self._executor = executor
        self._store = store
        self._folder = folder
        self._stamp = stamp
        self.progress = progress
        self._nodes = Nodes(run, store, progress.dense)
        self._context = base_context(run, partition)
        self._evaluator = Evaluator(run, partition, executor, self._nodes, store, progress, keep)
        self._clients = Table(folder / "clients.csv", CLIENT_COLUMNS, progress.tables.get("clients.csv", NEW))
        self._messages = Table(folder / "messages.csv", MESSAGE_COLUMNS, progress.tables.get("messages.csv", NEW))
        self._losses: list[float] = []
        self._news = self._event(progress.round, 0, 0)

    def run(self, watch: Watch, checkpoint_every: int = 1) -> dict[str, Any]:
        """Run the rounds that are left; returns the evaluation of the last round, or period, on the test split."""
        rounds = self._run.spec.rounds
        self._executor.tell = partial(self._tell_working, watch)
        if not self._store.begun:
            self._commit()
        for round_ in range(self.progress.round, rounds):
            self._round(round_, watch)
            point = self._evaluator.after_round(round_)
            self.progress.round = round_ + 1
            self._tell(watch, self._event(round_, 1, 1, point))
            if self.progress.round % checkpoint_every == 0 or self.progress.round == rounds:
                self._commit()
                self._tell(watch, replace(self._news, point=None, committed=self.progress.round))
        test, missing = self._evaluator.finish()
        self._download(missing)
        self._commit(last=True)
        return test

    def _download(self, missing: Mapping[int, Stored]) -> None:
        """Count the download after the last round of clients whose scored model needs it."""
        for client, stored in missing.items():
            self.progress.downloaded[client] = stored.file.digest
            size = stored.file.path.stat().st_size
            self.progress.totals.bytes_down_after += size
            self._message((self._run.spec.rounds, 0), (SERVER, client), size, stored.bytes_dense, client)

    def _round(self, round_: int, watch: Watch) -> None:
        """All phases of a round: what is published in one phase is received in the next."""
        phases = self._plan(round_)
        expected, done = sum(len(phase.turns) for phase in phases), 0
        if not expected:
            self.progress.skipped.append(round_)
        self._losses.clear()
        self._news = self._event(round_, 0, expected)
        for number, phase in enumerate(phases):
            ctx = replace(self._context, round=round_, phase=number, kind=phase.kind)
            for turn in self._phase(phase, ctx):
                done += 1
                self._losses += [turn.metrics["loss"]] if "loss" in turn.metrics else []
                self._tell(watch, self._event(round_, done, expected))

    def _plan(self, round_: int) -> list[Phase]:
        clients = participating(self._run.spec, self._run.trained, round_)
        ctx = replace(self._context, round=round_)
        own = own_generator_for(self._run.spec.seed, "topology", round_)
        with at(f"round {round_}"), self._run.blaming("topology"), own:
            return planned(self._run.topology, clients, self._run.trained, ctx)

    def _phase(self, phase: Phase, ctx: RoundContext) -> Iterator[TurnDone]:
        """All turns of a phase in order of client; then every node that received messages aggregates them."""
        arrivals = Arrivals(ctx)
        calls = self._calls(phase, ctx)
        for turn, call, done in zip(phase.turns, calls, self._executor.run(calls), strict=True):
            if not isinstance(done, TurnDone):
                raise TypeError(type(done))
            self._count(turn, call, done)
            with at(call.label):
                for node in turn.sends_to:
                    way = _way(turn, node)
                    if way in done.encoded:
                        self._nodes.add(arrivals, node, turn.client, way, done.encoded[way], done.num_examples)
            if done.state is not None:
                self._store.keep((CLIENT, str(turn.client), ""), done.state)
            self.progress.took_turn(turn.client, ctx.round)
            yield done
        for aggregated in self._nodes.aggregate(arrivals, self._executor):
            self.progress.note(aggregated.encoded)
            self.progress.totals.count_aggregation(aggregated)

    def _calls(self, phase: Phase, ctx: RoundContext) -> list[TurnCall]:
        sources = {turn.client: turn.receives_from for turn in phase.turns if turn.receives_from is not None}
        received = self._nodes.received(sources, ctx)
        return [self._call(turn, ctx, received.get(turn.client)) for turn in phase.turns]

    def _call(self, turn: Turn, ctx: RoundContext, received: Stored | None) -> TurnCall:
        key = (CLIENT, str(turn.client), "")
        turns, last_round = self.progress.turns.get(turn.client, (0, None))
        return TurnCall(
            client=turn.client,
            num_images=len(self._training.indices["train"][turn.client]),
            round=ctx.round,
            phase=ctx.phase,
            kind=ctx.kind,
            turns=turns,
            last_round=last_round,
            state=self._store.get(key),
            received=received,
            ways=tuple(dict.fromkeys(_way(turn, node) for node in turn.sends_to)),
            state_path=self._store.path(key, ctx.round, ctx.phase),
        )

    def _count(self, turn: Turn, call: TurnCall, done: TurnDone) -> None:
        """Count every message of a turn, and its arithmetic; add its rows to the tables."""
        totals = self.progress.totals
        before = (totals.bytes_up, totals.bytes_down, totals.bytes_peer)
        when = (call.round, call.phase)
        if call.received is not None and turn.receives_from == SERVER:
            self.progress.downloaded[turn.client] = call.received.file.digest
            size = call.received.file.path.stat().st_size
            self._message(when, (SERVER, turn.client), size, call.received.bytes_dense, turn.client)
        if self._run.method.uses_public and not call.turns and self._partition.public is not None:
            size = self._partition.public.nbytes
            self._message(when, (SERVER, turn.client), size, size, None)
        for node in turn.sends_to:
            sent = done.encoded.get(_way(turn, node))
            if sent is not None and node != turn.client:
                self._message(when, (turn.client, node), len(sent.blob), sent.bytes_dense, turn.client)
        totals.count_turn(done)
        self.progress.note(done.encoded)
        after = (totals.bytes_up, totals.bytes_down, totals.bytes_peer)
        moved = dict(zip(("bytes_up", "bytes_down", "bytes_peer"), _difference(after, before), strict=True))
        row = {"round": call.round, "phase": call.phase, "client": turn.client, "num_examples": int(done.num_examples)}
        try:
            self._clients.add({**row, **moved}, done.metrics, call.kind)
        except RunError as error:
            raise RunError(f"{call.label}: {error}") from error

    def _message(
        self, when: tuple[int, int], way: tuple[Node, Node], size: int, dense: int, client: int | None
    ) -> None:
        """Count a message. when: round and phase; way: sender and receiver; client: whose model it is of, if any."""
        self._messages.add(dict(zip(MESSAGE_COLUMNS, (*when, *way, size, dense), strict=True)))
        backbone = None if client is None else self._run.backbone(client)
        self.progress.totals.count_message(*way, size, dense, backbone)

    def _event(self, round_: int, turns: int, expected: int, point: Mapping[str, Any] | None = None) -> Event:
        progress = self.progress
        last = progress.curve[-1] if progress.curve else None
        return Event(
            folder=self._folder,
            round=round_,
            rounds=self._run.spec.rounds,
            turns=turns,
            expected=expected,
            done=progress.round,
            bytes_sent=progress.totals.bytes_sent,
            point=point,
            curve=last,
            averaged=1 if last is None else len(window(last["round"], self._run.period)),
            loss=fmean(self._losses) if self._losses else None,
        )

    def _tell(self, watch: Watch, event: Event) -> None:
        self._news = event
        watch(event)

    def _tell_working(self, watch: Watch, calls: Sequence[Call | None]) -> None:
        """The last event, with what each worker computes now."""
        working = tuple("" if call is None else call.doing for call in calls)
        watch(replace(self._news, point=None, committed=0, working=working))

    def _commit(self, *, last: bool = False) -> None:
        tables = {"clients.csv": self._clients, "messages.csv": self._messages}
        self.progress.tables = {name: table.flush(last=last) for name, table in tables.items()}
        self._store.commit({**self._stamp, "progress": self.progress.to_json()})


def _way(turn: Turn, node: Node) -> str:
    return OWN_WAY if node == turn.client else SERVER_WAY if node == SERVER else PEER_WAY


def _difference(after: tuple[int, ...], before: tuple[int, ...]) -> list[int]:
    return [now - then for now, then in zip(after, before, strict=True)]
