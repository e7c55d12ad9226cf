"""Plugins that replace a function which all methods use: undone, and blamed on the plugin."""

import random

import numpy as np
import torch

from fedbench_core.api import pack
from fedbench_core.learning import fit
from fedbench_core.registry import Registry
from fedbench_core.registry.plugins import discover

CHANGES = {
    "torch.relu": "torch.relu = torch.sigmoid",
    "torch.nn.functional.cross_entropy": "torch.nn.functional.cross_entropy = lambda *a, **k: torch.zeros(())",
    "torch.nn.functional.dropout": "torch.nn.functional.dropout.__code__ = (lambda input, *a: input).__code__",
    "torch.nn.functional.gelu": "torch._C._nn.gelu = torch.nn.functional.gelu = torch.relu",
    "torch.optim.sgd.SGD.step": "torch.optim.SGD.step = lambda self, closure=None: None",
    "torch.Tensor.sum": "torch.Tensor.sum = lambda self, *a, **k: self",
    "torch.Tensor.norm": "torch.Tensor.norm = lambda self, *a, **k: self",
    "torch.nn.modules.linear.Linear.forward": "torch.nn.Linear.forward = lambda self, x: x",
    "numpy.mean": "numpy.mean = numpy.median",
    "random.random": "random.random = lambda: 0.5",
    "builtins.sum": "import builtins; builtins.sum = max",
    "fedbench_core.learning.local.fit": "from fedbench_core.learning import fit; fit.__kwdefaults__ = {'steps': 0}",
    "fedbench_core.api.payload.pack": "import fedbench_core.api.payload as p; p.pack = lambda *a: b''",
}
"""What a plugin replaces, and how."""


def _loaded(distribution, sources: dict[str, str]) -> dict[str, list[str]]:
    """The problems of plugins with these sources, by distribution."""
    for name, source in sources.items():
        distribution(name, f"import numpy, random, torch\n{source}")
    return {plugin.distribution: plugin.problems for plugin in Registry(*discover()).plugins()}


def test_replaced_function_is_restored_and_blamed_on_its_plugin_alone(distribution) -> None:
    names = dict(enumerate(CHANGES))
    problems = _loaded(distribution, {f"fedbench-x{number}": CHANGES[name] for number, name in names.items()})
    for number, name in names.items():
        (problem,) = problems[f"fedbench-x{number}"]
        assert name in problem
    assert torch.relu(torch.tensor(-1.0)) == 0
    assert torch.nn.functional.gelu(torch.tensor(-1.0)) != 0
    assert torch.nn.functional.dropout(torch.ones(500), 0.5).eq(0).any()
    assert torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([0])) > 0
    assert torch.ones(3).sum() == 3
    assert torch.ones(4).norm() == 2
    assert torch.nn.Linear(2, 3)(torch.ones(1, 2)).shape == (1, 3)
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    torch.optim.SGD([weight], 1.0).step()
    assert weight == 0
    assert np.mean([0, 0, 3]) == 1
    assert len({random.random() for _ in range(9)}) > 1  # noqa: S311  # no secret
    assert sum([1, 2]) == 3
    assert pack({}, {}) != b""
    assert fit.__kwdefaults__ != {"steps": 0}


def test_functions_are_restored_also_after_an_import_that_fails(distribution) -> None:
    problems = _loaded(distribution, {"fedbench-x": "torch.relu = torch.sigmoid\nraise OSError('no disk')"})
    assert ["no disk" in problems["fedbench-x"][0], "torch.relu" in problems["fedbench-x"][1]] == [True, True]
    assert torch.relu(torch.tensor(-1.0)) == 0


def test_import_of_other_libraries_and_own_functions_are_no_problem(distribution) -> None:
    source = "import torch._dynamo, torch.utils.checkpoint, pandas\nclass Own(torch.nn.ReLU): ..."
    assert _loaded(distribution, {"fedbench-x": source})["fedbench-x"] == []
