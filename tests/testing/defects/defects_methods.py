"""Methods that each do one thing wrong: {name: (method, the case that shows it, a part of its message)}."""

from dataclasses import dataclass, replace

from fedbench_core.api import Accumulator, LocalUpdate, Method, Payload, Update, hookimpl
from fedbench_core.learning import fit, load_global
from fedbench_core.parts.aggregators import Mean

SEEN = {}


@dataclass(frozen=True)
class Avg(LocalUpdate):
    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        metrics = fit(net, client.train, ctx)
        return Update(Payload.of(net), len(client.train), metrics)

    def global_predictors(self, received, backbone, ctx):
        return {"global": load_global(received, backbone, ctx)}


class Untrained(Avg):
    """Predicts with the initial weights."""

    def global_predictors(self, received, backbone, ctx):
        return {"global": load_global(None, backbone, ctx)}


class Queue(Avg):
    """Reports which turn of this process it is."""

    def train(self, client, received, ctx):
        SEEN["turns"] = SEEN.get("turns", 0) + 1
        update = super().train(client, received, ctx)
        return replace(update, metrics={**update.metrics, "turn": SEEN["turns"] % 3})


class NeedsEveryRound(Avg):
    """Fails for a client that did not participate in every round."""

    def train(self, client, received, ctx):
        if client.memory.setdefault("next", 0) != ctx.round:
            raise ValueError("a round is missing")
        client.memory["next"] = ctx.round + 1
        return super().train(client, received, ctx)


class Aliased(Mean):
    """Collects references to one buffer, which the next client overwrites: the mean is the last client's model."""

    def start(self, state, ctx):
        return _Aliased()


class _Aliased(Accumulator):
    def __init__(self):
        self.buffer, self.models = {}, []

    def add(self, message):
        self.buffer.update(message.payload.tensors)
        self.models.append(self.buffer)

    def result(self):
        total = {name: sum(model[name].double() for model in self.models) for name in self.buffer}
        return Payload({name: (total[name] / len(self.models)).to(self.buffer[name].dtype) for name in total})


class Frozen(Mean):
    """Publishes the first aggregate for ever."""

    def start(self, state, ctx):
        return _Frozen(super().start(state, ctx), state)


class _Frozen(Accumulator):
    def __init__(self, inner, state):
        self.inner, self.state = inner, state

    def add(self, message):
        self.inner.add(message)

    def result(self):
        return self.state.published.get("") or self.inner.result()


SUMMARY = "A sentence."
DEFECTS = {
    "d-no-summary": (Method("d-avg"), "describes", "has no summary"),
    "d-no-paper": (Method("d-avg", summary=SUMMARY, fidelity="reconstruction"), "describes", "Name the paper"),
    "d-untrained": (Method("d-untrained", summary=SUMMARY), "learns", "where guessing gives 0.125"),
    "d-learns": (Method("d-avg", summary=SUMMARY, learns=False), "learns", "declares learns=False"),
    "d-queue": (Method("d-queue", summary=SUMMARY), "order_of_clients", "in reverse order"),
    "d-aliased": (
        Method("d-avg", aggregator="d-aliased-mean", summary=SUMMARY),
        "order_of_clients",
        "is the result that of one client?",
    ),
    "d-frozen-server": (
        Method("d-avg", aggregator="d-frozen-mean", summary=SUMMARY),
        "published_payload_changes",
        "clients receive what they received after the first",
    ),
    "d-mixed": (Method("d-avg", summary=SUMMARY, mixed_backbones=True), "mixed_backbones", "with the same tensors"),
    "d-needs-every-round": (Method("d-needs-every-round", summary=SUMMARY), "absence", "a round is missing"),
    "d-nowhere-to-be-found": (Method("d-none", summary=SUMMARY), "one_client", "No local update named 'd-none'"),
    "d-misspelt": (
        Method("d-avg", summary=SUMMARY, options={"compressor": {"rank": 3}}),
        "one_client",
        "No option of",
    ),
}


@hookimpl
def fedbench_register_local_updates():
    return {"d-avg": Avg, "d-untrained": Untrained, "d-queue": Queue, "d-needs-every-round": NeedsEveryRound}


@hookimpl
def fedbench_register_aggregators():
    return {"d-aliased-mean": Aliased, "d-frozen-mean": Frozen}


@hookimpl
def fedbench_register_methods():
    return {name: method for name, (method, _, _) in DEFECTS.items()}
