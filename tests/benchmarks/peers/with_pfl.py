"""pfl-research: SimulatedBackend in two processes, which divide the clients of a round and sum over torch.distributed.

Images are tensors in memory, as its guide to fast simulations advises. A client's dataset is kept, so that its batches
are sliced once. Processes find each other through PFL_WORKER_ADDRESSES, because torchrun would start one process more.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data import FederatedDataset
from pfl.data.dataset import Dataset
from pfl.data.sampling import MinimizeReuseUserSampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.internal import ops
from pfl.metrics import Metrics, StringMetricName, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor
from torch.nn import functional as F

from tests.benchmarks.peers.loads import BATCH, CLIENTS, PRESENT, SGD, STEPS, Clock, Load
from tests.benchmarks.peers.work import Net, client, optimizer, test_images


class Model(Net):
    """The network with the two methods that pfl asks for."""

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy of a batch."""
        return F.cross_entropy(self(images), labels)

    @torch.no_grad()
    def metrics(self, images: Tensor, labels: Tensor) -> dict[str, Weighted]:
        """The accuracy on a batch."""
        return {"accuracy": Weighted(float((self(images).argmax(1) == labels).sum()), len(labels))}


class Rounds(Clock, TrainingProcessCallback):
    """A clock as a callback of pfl, which also counts the steps of local optimizers."""

    steps = 0

    def after_central_iteration(self, *_: object, **__: object) -> tuple[bool, Metrics]:
        """A round has ended; go on."""
        self.tick()
        return False, Metrics()

    def local_optimizer(self, parameters: object, lr: float) -> torch.optim.Optimizer:
        """A new optimizer whose steps are counted."""
        made = optimizer(parameters, lr=lr)
        made.register_step_post_hook(self._count)
        return made

    def _count(self, *_: object) -> None:
        self.steps += 1


def clients(data: Path) -> FederatedDataset:
    """All clients, which take part one after another."""

    @cache
    def dataset(number: int) -> Dataset:
        return Dataset(client(data, number))

    return FederatedDataset(dataset, MinimizeReuseUserSampler(range(CLIENTS)))


def score(model: PyTorchModel, data: Path) -> float:
    """The accuracy on the test images, of which each process takes half."""
    half = Dataset(test_images(data)).get_worker_partition()
    metrics = model.evaluate(half, eval_params=NNEvalHyperParams(local_batch_size=500))
    return ops.all_reduce_metrics(metrics)[StringMetricName("accuracy")].overall_value


def run(load: Load, data: Path) -> dict[str, float]:
    """Federated averaging in one of two processes."""
    np.random.seed(0)  # noqa: NPY002  # pfl draws from it: both processes must choose the same clients
    rounds, net = Rounds(), Model(load)
    model = PyTorchModel(net, rounds.local_optimizer, torch.optim.SGD(net.parameters(), lr=1.0))
    images = clients(data)
    FederatedAveraging().run(
        # never evaluated in between: every number divides the first round, which is 0
        NNAlgorithmParams(load.rounds, evaluation_frequency=math.nan, train_cohort_size=PRESENT, val_cohort_size=0),
        SimulatedBackend(images, images, [WeightByDatapoints()]),
        model,
        NNTrainHyperParams(local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=SGD["lr"]),
        callbacks=[rounds],
        send_metrics_to_platform=False,
    )
    assert rounds.steps == load.rounds * STEPS // 2
    return {"seconds": rounds.seconds(), "steps": rounds.steps, "accuracy": score(model, data)}
