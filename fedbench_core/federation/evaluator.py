"""Learning curve, selection of a round by validation, and test scores of a running federation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedbench_core.api import SERVER, Aggregator, LocalUpdate, RunError
from fedbench_core.federation.blame import at
from fedbench_core.federation.calls import PredictCall, PredictDone, Stored
from fedbench_core.federation.evaluation import evaluate
from fedbench_core.federation.executors import Executor
from fedbench_core.federation.keeper import LAST, SELECTED, Keep, Keeper
from fedbench_core.federation.nodes import STATE, Nodes
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.periods import Metrics, mean_metrics, window, windows
from fedbench_core.federation.progress import Progress
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.scoring import Scored, Scorer
from fedbench_core.federation.store import Store
from fedbench_core.federation.worker import base_context

_OF_IMAGES = ("groups", "labels", "unseen_role")
"""Parts of an evaluation that are the same in all rounds."""


class Evaluator:
    """Scores the models of a federation as it is now."""

    def __init__(
        self,
        run: ResolvedRun,
        partition: Partition,
        executor: Executor,
        nodes: Nodes,
        store: Store,
        progress: Progress,
        keep: Keep,
    ) -> None:
        self._run = run
        self._partition = partition
        self._executor = executor
        self._nodes = nodes
        self._store = store
        self._progress = progress
        self._keeper = Keeper(store, progress, keep)
        self._scorer = Scorer(partition)
        self._context = base_context(run, partition)
        spec = run.spec
        self._in_curve = windows(spec.rounds, spec.evaluate_every, run.period)
        self._in_last_period = window(spec.rounds - 1, run.period)

    def after_round(self, round_: int) -> dict[str, Any] | None:
        """A point of the learning curve, if one is due; also evaluates what the selected round and the end need."""
        point = self._validate(round_) if round_ in self._in_curve else None
        selects = point is not None and self._selects(point)
        last = round_ == self._in_last_period[-1]
        if not last and (selects or self._tested(round_)):
            done = self._tested_models(round_, SELECTED if selects else "")
            self._remember(round_, self._evaluate(done, "test"))
        if point is not None and selects:
            metrics = None if last else self._mean("test", round_)
            self._progress.selected = {"round": round_, "validation": point["personalization"], "metrics": metrics}
            self._progress.selected_undefined = self._undefined(round_)
        return point

    def finish(self) -> tuple[dict[str, Any], dict[int, Stored]]:
        """The evaluation of the last round on the test split, and what clients miss for their headline model.

        The evaluations of `earlier` rounds of a period come with it. A client misses what the server published since
        the client's last download, if its model was made from it.
        """
        round_ = self._in_last_period[-1]
        done = self._tested_models(round_, LAST)
        test = self._evaluate(done, "test")
        needing = {client for one in done if test["role"] in one.made_from_received for client in one.call.clients}
        earlier = {"earlier": self._progress.earlier} if self._progress.earlier else {}
        return {**test, **earlier}, self._missing(sorted(needing), round_)

    def _missing(self, clients: Sequence[int], round_: int) -> dict[int, Stored]:
        """What the server published since the clients' last download, by client."""
        received, downloaded = self._received(round_), self._progress.downloaded
        of_server = [client for client in clients if self._run.topology.receives_from(client) == SERVER]
        return {
            client: stored
            for client in of_server
            if (stored := received[client]) is not None and stored.file.digest != downloaded.get(client)
        }

    def _tested_models(self, round_: int, which: str) -> list[Scored]:
        """Score on the test split; models are kept if it is `which`, the last or the selected round."""
        if which:
            self._keeper.start(which, round_)
        return self._done(round_, "test", which)

    def _validate(self, round_: int) -> dict[str, Any] | None:
        """Evaluate a round for the learning curve; its point, if one is due."""
        spec = self._run.spec
        found = self._evaluate(self._done(round_, spec.evaluate_on), spec.evaluate_on)
        self._note("curve", round_, found["metrics"])
        self._note("undefined", round_, found["undefined"].get("personalization", 0))
        if (round_ + 1) % spec.evaluate_every:
            return None
        point = {"round": round_, "split": spec.evaluate_on, **self._mean("curve", round_)}
        self._progress.curve.append(point)
        return point

    def _selects(self, point: Mapping[str, Any]) -> bool:
        """Whether this round is the best so far on validation; a mean over more clients replaces one over fewer."""
        score, selected = point["personalization"], self._progress.selected
        if point["split"] != "val" or score is None:
            return False
        own = (self._undefined(point["round"]), -score)
        return selected is None or own < (self._progress.selected_undefined, -selected["validation"])

    def _tested(self, round_: int) -> bool:
        """Whether a mean over a period may need the test scores of a round that is not selected."""
        on_val = self._run.spec.evaluate_on == "val" and self._run.period > 1
        return round_ in self._in_last_period or (on_val and round_ in self._in_curve)

    def _remember(self, round_: int, test: Mapping[str, Any]) -> None:
        """Keep the test scores of a round, and all of its evaluation in the last period."""
        self._note("test", round_, test["metrics"])
        if round_ in self._in_last_period:
            own = {name: value for name, value in test.items() if name not in _OF_IMAGES}
            self._progress.earlier.append({"round": round_, **own})

    def _note(self, what: str, round_: int, value: Any) -> None:
        """Note a value of a round, and forget those before the period that ends with it."""
        recent = self._progress.recent
        known = {int(one): before for one, before in recent[what].items() if int(one) > round_ - self._run.period}
        recent[what] = {str(one): value for one, value in {**known, round_: value}.items()}

    def _values(self, what: str, round_: int) -> list[Any]:
        return [self._progress.recent[what][str(one)] for one in window(round_, self._run.period)]

    def _mean(self, what: str, round_: int) -> Metrics:
        return mean_metrics(self._values(what, round_))

    def _undefined(self, round_: int) -> int:
        """Clients without a validation score in some round of the period."""
        most: int = max(self._values("undefined", round_))
        return most

    def _evaluate(self, done: Sequence[Scored], split: str) -> dict[str, Any]:
        return evaluate(done, self._partition, split, self._run.partitioner.by)

    def _done(self, round_: int, split: str, keep: str = "") -> list[Scored]:
        """The outcomes of scoring all models."""
        done = list(self._scored(self._calls(round_, split), keep))
        if not any(one.scores for one in done):
            name = self._run.method.local_update
            raise RunError(f"local update {name} returned no model. predictors or global_predictors must return one.")
        return done

    def _scored(self, calls: Iterable[PredictCall], keep: str) -> Iterator[Scored]:
        """The outcomes of calls; their models are kept if `keep` names a round."""
        totals = self._progress.totals
        totals.prediction.clear()
        if keep:
            calls = (replace(call, keep=self._keeper.path(keep, number)) for number, call in enumerate(calls))
        for number, done in enumerate(self._executor.run(calls)):
            if not isinstance(done, PredictDone):
                raise TypeError(type(done))
            if keep:
                self._keeper.take(keep, number, done)
            totals.count_prediction(done.forwards)
            with at(done.call.label):
                scored = self._scorer.scored(done)
            yield scored

    def _calls(self, round_: int, split: str) -> Iterator[PredictCall]:
        """Clients' own models, then each model that clients have in common, then the server's own."""
        update, aggregator = type(self._run.local_update), type(self._run.aggregator)
        received = self._received(round_)
        if update.predictors is not LocalUpdate.predictors:
            yield from self._of_clients(round_, split, received)
        if update.global_predictors is not LocalUpdate.global_predictors:
            yield from self._in_common(round_, split, received)
        if aggregator.predictors is not Aggregator.predictors:
            yield self._call("server", SERVER, self._all_clients, round_, split, None)

    def _of_clients(self, round_: int, split: str, received: list[Stored | None]) -> Iterator[PredictCall]:
        keeps = type(self._run.local_update).setup is not LocalUpdate.setup
        clients = [client for client in range(self._run.trained) if not keeps or client in self._progress.turns]
        for client in clients:
            own, stored = self._scored_on(client), received[client]
            if self._run.local_update.personalizes:
                yield from (self._call("client", one, (one,), round_, split, stored, client) for one in own)
            else:
                yield self._call("client", client, own, round_, split, stored)
        if not clients:  # the roles are known from a client that has not trained; its scores count for nobody
            yield self._call("client", 0, (), round_, split, received[0])

    def _in_common(self, round_: int, split: str, received: list[Stored | None]) -> Iterator[PredictCall]:
        groups: dict[tuple[str, str], list[int]] = {}
        for client, stored in enumerate(received):
            digest = "" if stored is None else stored.file.digest
            groups.setdefault((digest, self._run.backbone(client)), []).append(client)
        for clients in groups.values():
            scored_on = tuple(sorted(one for client in clients for one in self._scored_on(client)))
            yield self._call("received", clients[0], scored_on, round_, split, received[clients[0]])

    def _received(self, round_: int) -> list[Stored | None]:
        """What each client would receive now."""
        sources = {client: self._run.topology.receives_from(client) for client in range(self._run.trained)}
        received = self._nodes.received(sources, replace(self._context, round=round_))
        return [received[client] for client in sources]

    def _scored_on(self, client: int) -> tuple[int, ...]:
        """The clients whose images score the models of a client that trains: all, in centralized training."""
        return tuple(range(client, self._run.clients, self._run.trained))

    @property
    def _all_clients(self) -> tuple[int, ...]:
        return tuple(range(self._run.clients))

    def _call(
        self,
        of: Any,
        client: int,
        clients: tuple[int, ...],
        round_: int,
        split: str,
        received: Stored | None,
        trained: int | None = None,
    ) -> PredictCall:
        """The call for a client. trained: the client that trained its model, if that was another."""
        trained = client if trained is None else trained
        key = (STATE, str(SERVER), "") if of == "server" else ("client", str(trained), "")
        turns, last_round = self._progress.turns.get(trained, (0, None))
        backbone = "" if of == "server" else self._run.backbone(client)
        state = None if of == "received" else self._store.get(key)
        published = self._nodes.published(SERVER) if of == "server" else {}
        return PredictCall(of, client, backbone, clients, round_, split, turns, last_round, state, received, published)
