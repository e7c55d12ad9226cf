import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import PayloadError, RunError, pack
from fedbench_core.federation.node_state import NodeState, Weights

keys = st.text(min_size=1, max_size=12)
tensors = st.integers(0, 40).map(lambda seed: torch.randn(seed % 4, 3, generator=torch.Generator().manual_seed(seed)))
values = st.one_of(
    st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans(), tensors
)


def _same(one, other) -> bool:
    if one.keys() != other.keys():
        return False
    pairs = [(one[key], other[key]) for key in one]
    return all(type(a) is type(b) and (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b) for a, b in pairs)


memories = st.dictionaries(keys, values, max_size=4)


@given(memory=memories, compressors=st.dictionaries(keys, memories, max_size=2))
def test_state_comes_back_whole(memory, compressors) -> None:
    weights = {"conv.weight": torch.arange(6.0).reshape(2, 3), "bn.num_batches_tracked": torch.tensor(7)}
    models = {
        "a/b": Weights("tiny", weights),
        "network 1": Weights("wide", {"w": torch.ones(2)}),
        "": Weights("tiny", {}),
    }
    modules = {"a/b": Weights("head", {"w": torch.zeros(1)}, {"inputs": 3})}
    back = NodeState.from_bytes(NodeState(models, modules, memory, compressors).to_bytes())
    assert _same(back.memory, memory)
    assert back.compressors.keys() == compressors.keys()
    assert all(_same(back.compressors[way], compressors[way]) for way in compressors)
    for mine, theirs in ((models, back.models), (modules, back.modules)):
        assert list(mine) == list(theirs)
        for role, one in mine.items():
            assert (theirs[role].name, theirs[role].sizes) == (one.name, one.sizes)
            assert _same(theirs[role].tensors, one.tensors)


def test_equal_states_are_equal_bytes() -> None:
    one = NodeState({"m": Weights("tiny", {"w": torch.ones(2)})}, memory={"a": 1, "b": torch.zeros(3)})
    other = NodeState({"m": Weights("tiny", {"w": torch.ones(2)})}, memory={"b": torch.zeros(3), "a": 1})
    assert one.to_bytes() == other.to_bytes()


def test_empty_state_is_false() -> None:
    assert not NodeState()
    assert not NodeState(compressors={"server": {}})
    assert NodeState(memory={"a": 0})
    assert NodeState(models={"m": Weights("tiny", {})})


@pytest.mark.parametrize("value", [[1, 2], None, {"a": 1}, object(), b"bytes"])
def test_value_that_cannot_be_stored_is_named(value) -> None:
    with pytest.raises(RunError, match="'thoughts'"):
        NodeState(memory={"thoughts": value}).to_bytes()


@pytest.mark.parametrize("blob", [b"", b"\x80\x04N.", b"\x10" + b"\0" * 30])
def test_other_bytes_are_refused(blob) -> None:
    with pytest.raises(PayloadError):
        NodeState.from_bytes(blob)


WRONG = {
    "models": ["x", [["role"]], [["role", 5]]],
    "modules": [None, [["role", "name"]], [["role", "name", [3]]]],
    "compressors": [{"a": 1}, ["up"], "up"],
    "plain": [[], [5], [{"a": []}], None],
}


@pytest.mark.parametrize("block", WRONG)
def test_state_with_other_contents_is_refused_by_the_name_of_the_block(block) -> None:
    meta = {"models": [], "modules": [], "compressors": [], "plain": [{}]}
    assert not NodeState.from_bytes(pack({}, meta))
    for value in WRONG[block]:
        with pytest.raises(RunError, match="stored state is damaged"):
            NodeState.from_bytes(pack({}, {**meta, block: value}))
    with pytest.raises(RunError, match=block):
        NodeState.from_bytes(pack({}, {name: value for name, value in meta.items() if name != block}))
