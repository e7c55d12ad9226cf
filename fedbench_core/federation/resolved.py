"""A run with all its parts."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from fedbench_core.api import (
    Aggregator,
    Architecture,
    Compressor,
    Dataset,
    LocalUpdate,
    Method,
    ModuleFactory,
    Partitioner,
    Topology,
)
from fedbench_core.federation.blame import blamed
from fedbench_core.federation.spec import RunSpec

KINDS = {
    "partitioner": "partitioner",
    "local_update": "local_update",
    "aggregator": "aggregator",
    "compressor": "compressor",
    "downlink": "compressor",
    "topology": "topology",
    "dataset": "dataset",
    "public": "dataset",
    "backbone": "backbone",
}
"""Prefixes of options -> kind of part."""


@dataclass(frozen=True)
class ResolvedRun:
    """All parts of a run. `spec` is resolved: every part and option is named, every backbone by its exact id."""

    spec: RunSpec
    method: Method
    dataset: Dataset
    public: Dataset | None
    """Where the public images come from, if they are another dataset's."""
    partitioner: Partitioner
    local_update: LocalUpdate
    aggregator: Aggregator
    compressor: Compressor
    downlink: Compressor
    topology: Topology
    architectures: Mapping[str, Architecture]
    """By exact id, and by the names under which the local update builds further ones."""

    def backbone(self, client: int) -> str:
        """The backbone of a client; clients take the listed ones in turn."""
        return self.spec.backbones[client % len(self.spec.backbones)]

    @cached_property
    def backbones(self) -> tuple[str, ...]:
        """The backbones of the clients that train, by client."""
        return tuple(self.backbone(client) for client in range(self.trained))

    @property
    def period(self) -> int:
        """How many rounds the scores are means over: the topology's period, 1 in a run that is shorter than that."""
        return self.declared_period if self.declared_period <= self.spec.rounds else 1

    @cached_property
    def declared_period(self) -> int:
        """The number of rounds after which the topology's schedule repeats."""
        return self.topology.period(self.trained)

    @property
    def clients(self) -> int:
        """The number of clients that are not held out."""
        return self.spec.clients - self.spec.held_out

    @property
    def trained(self) -> int:
        """The number of clients that train: one in centralized training."""
        return 1 if self.method.data == "centralized" else self.clients

    @property
    def modules(self) -> Mapping[str, ModuleFactory]:
        """The modules that the local update and the aggregator declare."""
        return {**self.local_update.modules, **self.aggregator.modules}

    def blaming(self, part: str, *, refuses: bool = False) -> AbstractContextManager[None]:
        """`blamed` for a part of this run, by the name of its field: "local_update", "downlink"."""
        if part == "local_update":
            name = self.method.local_update
        else:
            name = str(getattr(self.spec, part) or self.spec.compressor).partition(":")[0]
        return blamed(KINDS[part], name, getattr(self, part), refuses=refuses)
