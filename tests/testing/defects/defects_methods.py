"""Methods that each do one thing wrong: {name: (method, the case that shows it, a word of its message)}."""

from dataclasses import dataclass, replace

from fedbench_core.api import LocalUpdate, Method, Payload, Reply, hookimpl
from fedbench_core.learning import adopt, fit

SEEN = {}


@dataclass(frozen=True)
class Avg(LocalUpdate):
    def update(self, client, heard, ctx):
        net = adopt(heard, client, ctx)
        metrics = fit(net, client, ctx)
        return Reply(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, heard, ctx):
        return {"global": adopt(heard, client, ctx)}


class Stubborn(Avg):
    """Predicts with what it started from."""

    def predictors(self, client, heard, ctx):
        return {"global": adopt(None, client, ctx)}


class Queue(Avg):
    """Tells its place among the visits of this process."""

    def update(self, client, heard, ctx):
        SEEN["visits"] = SEEN.get("visits", 0) + 1
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, "place": SEEN["visits"] % 3})


class Proud(Avg):
    """Wants to be asked in every round."""

    def update(self, client, heard, ctx):
        if client.memory.setdefault("next", 0) != ctx.round:
            raise ValueError("I was not asked")
        client.memory["next"] = ctx.round + 1
        return super().update(client, heard, ctx)


SAID = "A sentence."
DEFECTS = {
    "d-silent-method": (Method("d-avg"), "describes", "has no summary"),
    "d-guess": (Method("d-avg", summary=SAID, fidelity="reconstruction"), "describes", "Name the paper"),
    "d-stubborn": (Method("d-stubborn", summary=SAID), "learns", "where guessing gives 0.125"),
    "d-queue": (Method("d-queue", summary=SAID), "order_of_visits", "computed backwards"),
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
