"""Methods that each do one thing wrong: {name: (method, the case that shows it, a word of its message)}."""

from dataclasses import dataclass, replace

from fedbench_core.api import LocalUpdate, Method, Payload, Update, hookimpl
from fedbench_core.learning import fit, load_global

SEEN = {}


@dataclass(frozen=True)
class Avg(LocalUpdate):
    def train(self, client, received, ctx):
        net = load_global(received, client, ctx)
        metrics = fit(net, client, ctx)
        return Update(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        return {"global": load_global(received, client, ctx)}


class Stubborn(Avg):
    """Predicts with what it started from."""

    def predictors(self, client, received, ctx):
        return {"global": load_global(None, client, ctx)}


class Queue(Avg):
    """Tells its place among the turns of this process."""

    def train(self, client, received, ctx):
        SEEN["turns"] = SEEN.get("turns", 0) + 1
        reply = super().train(client, received, ctx)
        return replace(reply, metrics={**reply.metrics, "place": SEEN["turns"] % 3})


class Proud(Avg):
    """Wants to be asked in every round."""

    def train(self, client, received, ctx):
        if client.memory.setdefault("next", 0) != ctx.round:
            raise ValueError("I was not asked")
        client.memory["next"] = ctx.round + 1
        return super().train(client, received, ctx)


SAID = "A sentence."
DEFECTS = {
    "d-silent-method": (Method("d-avg"), "describes", "has no summary"),
    "d-guess": (Method("d-avg", summary=SAID, fidelity="reconstruction"), "describes", "Name the paper"),
    "d-stubborn": (Method("d-stubborn", summary=SAID), "learns", "where guessing gives 0.125"),
    "d-queue": (Method("d-queue", summary=SAID), "order_of_turns", "computed backwards"),
    "d-mixed": (Method("d-avg", summary=SAID, mixed_backbones=True), "mixed_backbones", "with the same tensors"),
    "d-proud": (Method("d-proud", summary=SAID), "absence", "I was not asked"),
    "d-nowhere-to-be-found": (Method("d-none", summary=SAID), "one_client", "No local update named 'd-none'"),
    "d-misspelt": (
        Method("d-avg", summary=SAID, options={"compressor": {"rank": 3}}),
        "one_client",
        "No option of",
    ),
}


@hookimpl
def fedbench_register_local_updates():
    return {"d-avg": Avg, "d-stubborn": Stubborn, "d-queue": Queue, "d-proud": Proud}


@hookimpl
def fedbench_register_methods():
    return {name: method for name, (method, _, _) in DEFECTS.items()}
