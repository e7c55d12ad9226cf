"""What is known of a method beside its run: notes on each backbone, sizes of networks, FLOPs."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import nn

from fedbench_core.api import Client, Payload
from fedbench_core.federation.calls import Forwards
from fedbench_core.federation.flops import flops_of
from fedbench_core.federation.partition import Partition, training_partition
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.worker import base_context, networks_of
from fedbench_core.models import parameters

_FEW = 4
"""Images of the clients that a check may look at."""


class Probe:
    """Builds the networks of a run outside it."""

    def __init__(self, run: ResolvedRun, partition: Partition) -> None:
        self._run = run
        self._partition = training_partition(run, partition)
        self._networks = networks_of(run, partition)
        self._context = base_context(run, partition, self._networks)

    def check(self) -> list[str]:
        """The notes of the local update on each backbone, and of the aggregator; RequestError if one can't work."""
        notes: list[str] = []
        with self._run.blaming("local_update", refuses=True):
            for client in self._clients():
                notes += self._run.local_update.check(client, replace(self._context, node=client.id))
        with self._run.blaming("aggregator", refuses=True):
            notes += self._run.aggregator.check(self._context)
            self._networks.recall()
        return list(dict.fromkeys(notes))

    def sizes(self) -> dict[str, dict[str, int]]:
        """Of every backbone that is used: its `parameters`, and the `bytes` of one uncompressed payload."""
        sizes = {}
        for name in dict.fromkeys(architecture.name for architecture in self._run.architectures.values()):
            net = self._networks.backbone(name)
            sizes[name] = {"parameters": parameters(net), "bytes": len(Payload.of(net).to_bytes())}
            self._networks.recall()
        return sizes

    def flops(self, forwards: Forwards) -> float | None:
        """The FLOPs of counted forward and backward passes; None if they can't be measured."""
        return flops_of(forwards, self._build, self._run.spec.device)

    def _build(self, name: str, sizes: dict[str, int] | None) -> nn.Module:
        self._networks.recall()
        return self._networks.backbone(name) if sizes is None else self._networks.module(name, "", sizes)

    def _clients(self) -> Iterator[Client]:
        """A client of each backbone, with a few of its images."""
        for number in range(min(self._run.trained, len(self._run.spec.backbones))):
            own = self._partition.examples("train", number).on(self._run.spec.device)
            few = own.pick(np.arange(min(_FEW, len(own))))
            yield Client(number, self._run.backbone(number), few, few)
            self._networks.recall()
