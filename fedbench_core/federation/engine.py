"""One loop for every method: plan, hear, update, say, merge; evaluate; commit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedbench_core.api import SERVER, Message, Payload, Place, RoundContext, RunError, Turn
from fedbench_core.federation.blame import at
from fedbench_core.federation.calls import ScoreCall, ScoreDone, TurnCall, TurnDone
from fedbench_core.federation.evaluation import evaluate
from fedbench_core.federation.executors import Executor
from fedbench_core.federation.nodes import OpenPlace, Places
from fedbench_core.federation.participation import present
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.plans import planned
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.set_up import torch_set_up
from fedbench_core.federation.store import Store
from fedbench_core.federation.tables import CLIENT_COLUMNS, MESSAGE_COLUMNS, NEW, Committed, Table
from fedbench_core.federation.wire import receive
from fedbench_core.federation.worker import context


@dataclass
class Progress:
    """What a run has come to so far; rests in the journal."""

    round: int = 0
    """Rounds that are done."""
    bytes_up: int = 0
    bytes_down: int = 0
    bytes_peer: int = 0
    bytes_dense: int = 0
    """What was sent, uncompressed."""
    messages: dict[str, int] = field(default_factory=dict)
    """Blobs sent or received, by the client's backbone."""
    dense_server: int = 0
    images: dict[str, int] = field(default_factory=dict)
    """Images that local steps went through, by backbone."""
    uncounted: int = 0
    """Turns that reported no steps."""
    skipped: list[int] = field(default_factory=list)
    """Rounds in which nobody was present."""
    notes: list[str] = field(default_factory=list)
    """What compressors said of payloads, each sentence once."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    selected: dict[str, Any] | None = None
    """The last-round evaluation's twin for the round that validation chose."""
    tables: dict[str, Committed] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """News for whoever watches: `turns` of `expected` done in round `round`; a curve point where one was measured."""

    round: int
    rounds: int
    turns: int
    expected: int
    progress: Progress
    point: dict[str, Any] | None = None


Watch = Callable[[Event], None]


class Engine:
    """Runs one federation into a run folder, from where `progress` left off.

    `stamp` goes into every journal: what a resume needs to know besides the state.
    """

    def __init__(
        self,
        setting: ResolvedRun,
        shares: Partition,
        store: Store,
        folder: Path,
        progress: Progress,
        stamp: Mapping[str, Any],
    ) -> None:
        self._setting = setting
        self._shares = shares
        self.store = store
        self._stamp = stamp
        self.progress = progress
        self._centralized = setting.method.data == "centralized"
        self._places = Places(setting, store, progress.dense_server)
        self._turns = Table(folder / "clients.csv", CLIENT_COLUMNS, progress.tables.get("clients.csv", NEW))
        self._messages = Table(folder / "messages.csv", MESSAGE_COLUMNS, progress.tables.get("messages.csv", NEW))
        self._last_turn: dict[int, tuple[int, int]] = {}

    def run(self, executor: Executor, watch: Watch, checkpoint_every: int = 1) -> dict[str, Any]:
        """Run what rounds are left; gives the evaluation of the last round on the test split.

        Here too torch is set up as the spec says: what the server encodes must not depend on who computes the turns.
        """
        self._executor = executor
        with torch_set_up(self._setting.spec):
            return self._run(watch, checkpoint_every)

    def _run(self, watch: Watch, checkpoint_every: int) -> dict[str, Any]:
        rounds = self._setting.spec.rounds
        if not self.store.begun:
            self._commit()
        while self.progress.round < rounds:
            first = self.progress.round
            stretch = range(first, min(rounds, first - first % checkpoint_every + checkpoint_every))
            for round_, steps in self._plan(stretch):
                self._round(round_, steps, watch)
                point = self._validate(round_)
                self.progress.round = round_ + 1
                watch(Event(round_, rounds, 1, 1, self.progress, point))
            self._commit(last=self.progress.round == rounds)
        return self._evaluate(rounds - 1, "test")

    def _plan(self, stretch: range) -> list[tuple[int, list[list[Turn]]]]:
        """The turns up to the next commit, and with them, when each client is trained last before it."""
        plans = []
        for round_ in stretch:
            there = present(self._setting.spec, self._setting.trained, round_)
            with at(f"round {round_}"), self._setting.blaming("topology"):
                steps = planned(self._setting.topology, there, self._setting.trained, self._context(round_, 0))
            plans.append((round_, steps))
        self._last_turn = {
            turn.client: (round_, step) for round_, steps in plans for step, turns in enumerate(steps) for turn in turns
        }
        return plans

    def _round(self, round_: int, steps: Sequence[Sequence[Turn]], watch: Watch) -> None:
        expected, trained = sum(len(turns) for turns in steps), 0
        if not expected:
            self.progress.skipped.append(round_)
        for step, turns in enumerate(steps):
            for _ in self._step(round_, step, turns):
                trained += 1
                watch(Event(round_, self._setting.spec.rounds, trained, expected, self.progress))

    def _step(self, round_: int, step: int, turns: Sequence[Turn]) -> Iterator[TurnDone]:
        """All turns of a step, then all its merges: what is written is read in the next step."""
        ctx = self._context(round_, step)
        merges: dict[Place, OpenPlace] = {}
        calls = [self._call(turn, round_, step) for turn in turns]
        for turn, call, done in zip(turns, calls, self._executor.run(calls), strict=True):
            if not isinstance(done, TurnDone):
                raise TypeError(type(done))
            self._account(turn, call, done)
            self._note(done.notes)
            with at(f"client {turn.client}, round {round_}"):
                for place, message in self._arrivals(turn, done):
                    if place not in merges:
                        merges[place] = self._places.open(place, ctx)
                    self._places.add(merges[place], message)
            if done.state is not None:
                self.store.keep(f"client-{done.client}", done.state)
            yield done
        with at(f"round {round_}"):
            self._note(self._places.close(merges, ctx))

    def _call(self, turn: Turn, round_: int, step: int) -> TurnCall:
        key = f"client-{turn.client}"
        return TurnCall(
            client=turn.client,
            round=round_,
            step=step,
            state=self.store.get(key),
            received=self._places.received(self._setting.topology.home(turn.client)),
            own=turn.client in turn.writes,
            remote=any(place != turn.client for place in turn.writes),
            rests=self.store.path(key, round_, step),
            hold=(round_, step) < self._last_turn[turn.client],
        )

    def _arrivals(self, turn: Turn, done: TurnDone) -> Iterator[tuple[Place, Message]]:
        """The messages of a turn, each as its receiver decoded it."""
        for place in turn.writes:
            if place == turn.client and done.left is not None:
                yield place, Message(done.client, Payload.from_bytes(done.left), done.weight)
            elif place != turn.client and done.sent is not None:
                payload = receive(self._setting, "compressor", done.sent, done.form)
                yield place, Message(done.client, payload, done.weight)

    def _account(self, turn: Turn, call: TurnCall, done: TurnDone) -> None:
        """Count every blob that crossed between two places."""
        home = self._setting.topology.home(turn.client)
        moved = {"bytes_up": 0, "bytes_down": 0, "bytes_peer": 0}
        if call.received is not None and home != turn.client:
            moved["bytes_down"] = call.received.file.path.stat().st_size
            self._message(call, home, turn.client, moved["bytes_down"], self._places.dense)
        for place in turn.writes if done.sent is not None else ():
            if place != turn.client:
                moved["bytes_up" if place == SERVER else "bytes_peer"] += len(done.sent or b"")
                self._message(call, turn.client, place, len(done.sent or b""), done.bytes_dense)
        for name, size in moved.items():
            setattr(self.progress, name, getattr(self.progress, name) + size)
        backbone = self._setting.backbone(turn.client)
        images = min(self._setting.spec.batch_size, self._shares.trained_on(turn.client, centralized=self._centralized))
        if "steps" in done.metrics:
            _count(self.progress.images, backbone, int(done.metrics["steps"]) * images)
        else:
            self.progress.uncounted += 1
        row = {"round": call.round, "step": call.step, "client": turn.client, "samples": int(done.weight), **moved}
        try:
            self._turns.add(row, done.metrics)
        except RunError as error:
            raise RunError(f"client {turn.client}, round {call.round}: {error}") from error

    def _note(self, notes: Sequence[str]) -> None:
        self.progress.notes = list(dict.fromkeys([*self.progress.notes, *notes]))

    def _message(self, call: TurnCall, sender: Place, receiver: Place, size: int, dense: int) -> None:
        row = {"round": call.round, "step": call.step, "sender": sender, "receiver": receiver}
        self._messages.add({**row, "bytes": size, "bytes_dense": dense})
        self.progress.bytes_dense += dense
        _count(self.progress.messages, self._setting.backbone(call.client), 1)

    def _validate(self, round_: int) -> dict[str, Any] | None:
        """A point of the learning curve; where validation finds a new best round, that round's test scores too."""
        spec = self._setting.spec
        if not spec.evaluate_every or (round_ + 1) % spec.evaluate_every:
            return None
        found = self._evaluate(round_, spec.evaluate_on)
        point = {"round": round_, "split": spec.evaluate_on, **found["metrics"]}
        self.progress.curve.append(point)
        if spec.evaluate_on == "val":
            self._select(round_, point["personalization"])
        return point

    def _select(self, round_: int, score: float | None) -> None:
        best = self.progress.selected
        last = round_ + 1 == self._setting.spec.rounds
        if score is None or (best is not None and best["validation"] >= score):
            return
        metrics = None if last else self._evaluate(round_, "test")["metrics"]
        self.progress.selected = {"round": round_, "validation": score, "metrics": metrics}

    def _evaluate(self, round_: int, split: str) -> dict[str, Any]:
        calls = (self._score_call(share, round_, split) for share in range(self._setting.spec.clients))
        scored = [done for done in self._executor.run(calls) if isinstance(done, ScoreDone)]
        return evaluate(scored, self._shares, split, self._setting.partitioner.by)

    def _score_call(self, share: int, round_: int, split: str) -> ScoreCall:
        client = share % self._setting.trained
        received = self._places.received(self._setting.topology.home(client))
        return ScoreCall(client, share, round_, split, self.store.get(f"client-{client}"), received)

    def _context(self, round_: int, step: int) -> RoundContext:
        return context(self._setting, self._shares, round_, step)

    def _commit(self, *, last: bool = False) -> None:
        self.progress.dense_server = self._places.dense
        tables = {"clients.csv": self._turns, "messages.csv": self._messages}
        self.progress.tables = {name: table.flush(last=last) for name, table in tables.items()}
        self.store.commit({**self._stamp, "progress": asdict(self.progress)})


def _count(counts: dict[str, int], key: str, more: int) -> None:
    counts[key] = counts.get(key, 0) + more
