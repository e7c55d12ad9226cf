"""Turns on tensors of torch that have a device and no values: two devices in one operation are an error, as on a GPU.

No kernel runs, so this needs no GPU. What would need values is replaced: the backward pass, steps, and numbers that are
read from tensors.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fedbench_core.api import SERVER, AggregatorState, Client, Message, Payload
from fedbench_core.federation import networks
from fedbench_core.federation.assembly import resolve
from fedbench_core.registry import registry
from fedbench_core.testing.small import SmallFederation, cache_of, partition_of, small_spec

SELECTS = "fedtgp"
"""Its server picks prototypes by the values of a tensor, which there are none of."""
METHODS = registry().names("method")


def _moved(module: nn.Module, device: str = "cpu", **_: object) -> nn.Module:
    """`Module.to` with new parameters: torch's own exchanges the contents, which these tensors don't support."""
    for part in module.modules():
        for name, one in part._parameters.items():
            if one is not None:
                part._parameters[name] = nn.Parameter(one.detach().to(device), requires_grad=one.requires_grad)
        for name, one in part._buffers.items():
            part._buffers[name] = None if one is None else one.to(device)
    return module


def _on_the_cpu(net: nn.Module, _device: str = "cpu") -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in net.state_dict().items()}


@pytest.fixture
def without_values(monkeypatch) -> Iterator[None]:
    """Numbers that are read from tensors are 1, and nothing is trained."""
    numbers = {"__float__": 1.0, "__int__": 1, "__bool__": True, "item": 1.0}
    for name, value in numbers.items():
        monkeypatch.setattr(Tensor, name, lambda _tensor, value=value: value)
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: [1.0] * (len(tensor) if tensor.ndim else 1))
    monkeypatch.setattr(torch, "equal", lambda _one, _other: True)
    monkeypatch.setattr(nn.Module, "to", _moved)
    monkeypatch.setattr(networks, "snapshot", _on_the_cpu)
    for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        monkeypatch.setattr(optimizer, "step", lambda _self: None)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@pytest.fixture
def federation(request, tmp_path_factory, monkeypatch) -> SmallFederation:
    """A federation of the method that the test names, on the GPU."""
    run = resolve(small_spec(request.param, {}))
    partition = partition_of(run.spec, cache_of(tmp_path_factory))
    on_gpu = run.spec.model_copy(update={"device": "cuda"})
    small = SmallFederation.of(replace(run, spec=on_gpu), partition)

    def backward(_loss: Tensor) -> None:
        for _, net in small.networks._used:
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None

    monkeypatch.setattr(Tensor, "backward", backward)
    return small


def _client(small: SmallFederation, number: int) -> Client:
    client = small.client(number)
    client.train, client.val = client.train.on("cuda"), client.val.on("cuda")
    return client


@pytest.mark.slow
@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize("federation", METHODS, indirect=True)
def test_method_computes_on_one_device(federation) -> None:
    clients = [_client(federation, number) for number in range(2)]
    sent = [federation.train(client).payload for client in clients]
    messages = [Message(number, one, 10.0) for number, one in enumerate(sent) if one is not None]
    for payload in sent:
        assert payload is None or {value.device.type for value in payload.tensors.values()} <= {"cuda"}
    if messages and federation.run.spec.method != SELECTS:
        federation.train(clients[0], _published(federation, messages), 1)


def _published(small: SmallFederation, messages: list[Message]) -> Payload:
    """What client 0 receives; a server that doesn't train computes on the CPU."""
    run, device = small.run, "cuda" if small.run.aggregator.trains else "cpu"
    if run.aggregator.takes == "one":
        return messages[1].payload
    ctx = replace(small.context(node=SERVER), device=device)
    state = AggregatorState(SERVER, published={})
    run.aggregator.setup(state, ctx)
    accumulator = run.aggregator.start(state, ctx)
    for message in messages:
        tensors = {name: value.to(device) for name, value in message.payload.tensors.items()}
        accumulator.add(Message(message.sender, Payload(tensors, message.payload.meta), message.num_examples))
    result = accumulator.result()
    found = result if isinstance(result, Payload) else result[run.aggregator.channel(state, 0, ctx)]
    return Payload({name: value.to("cuda") for name, value in found.tensors.items()}, found.meta)
