"""Flower: a simulation on Ray with two actors of one CPU each.

`run_simulation` starts it in this process; `flwr run` would add the start of a server. An actor keeps its network and
its images between turns.
"""

from functools import cache
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from tests.benchmarks.peers.loads import CLIENTS, IMAGES, LOADS, PRESENT, STEPS, Clock, Load
from tests.benchmarks.peers.work import Net, accuracy, client, optimizer, test_images, train

BACKEND = {"init_args": {"address": "local", "num_cpus": 2}, "client_resources": {"num_cpus": 1, "num_gpus": 0}}

client_app = ClientApp()


@cache
def network(load: str) -> Net:
    """The network of this process."""
    return Net(LOADS[load])


@client_app.train()
def train_client(message: Message, context: Context) -> Message:
    """The turn of a client."""
    config = message.content["config"]
    net = network(config["load"])
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    images = client(Path(config["data"]), context.node_config["partition-id"])
    steps = train(net, optimizer(net.parameters()), *images)
    metrics = MetricRecord({"num-examples": IMAGES, "steps": steps})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)


def total_steps(replies: list[RecordDict], _weight: str) -> MetricRecord:
    """The steps of all clients of a round."""
    return MetricRecord({"steps": sum(reply["metrics"]["steps"] for reply in replies)})


class Server:
    """The server, which times the rounds and scores the last model."""

    def __init__(self, load: Load, data: Path) -> None:
        self.load, self.data, self.clock = load, data, Clock()
        self.steps, self.accuracy = 0, 0.0

    def main(self, grid: Grid, _context: Context) -> None:
        """Federated averaging."""
        strategy = FedAvg(
            fraction_train=PRESENT / CLIENTS,
            fraction_evaluate=0.0,
            min_train_nodes=PRESENT,  # it would take the fraction of the clients that are registered when it starts
            min_available_nodes=CLIENTS,
            train_metrics_aggr_fn=total_steps,
        )
        result = strategy.start(
            grid,
            ArrayRecord(Net(self.load).state_dict()),
            self.load.rounds,
            train_config=ConfigRecord({"load": self.load.name, "data": str(self.data)}),
            evaluate_fn=self.evaluate,
        )
        self.steps = sum(metrics["steps"] for metrics in result.train_metrics_clientapp.values())

    def evaluate(self, round_: int, arrays: ArrayRecord) -> None:
        """A round has ended; score the model after the last. Flower also calls this before the first, as round 0."""
        if round_:
            self.clock.tick()
        if round_ == self.load.rounds:
            net = Net(self.load)
            net.load_state_dict(arrays.to_torch_state_dict())
            self.accuracy = accuracy(net, *test_images(self.data))


def run(load: Load, data: Path) -> dict[str, float]:
    """A simulation of all clients."""
    server, app = Server(load, data), ServerApp()
    app.main()(server.main)
    run_simulation(app, client_app, num_supernodes=CLIENTS, backend_config=BACKEND)
    assert server.steps == load.rounds * STEPS
    return {"seconds": server.clock.seconds(), "steps": server.steps, "accuracy": server.accuracy}
