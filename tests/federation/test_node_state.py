import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import PayloadError, RunError
from fedbench_core.federation.node_state import Kept

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


@given(memory=st.dictionaries(keys, values, max_size=4), sent=st.dictionaries(keys, values, max_size=4))
def test_a_client_comes_back_whole(memory, sent) -> None:
    weights = {"conv.weight": torch.arange(6.0).reshape(2, 3), "bn.num_batches_tracked": torch.tensor(7)}
    models = {"a/b": ("tiny", weights), "model 1": ("wide", {"w": torch.ones(2)}), "": ("tiny", {})}
    back = Kept.from_bytes(Kept(models, memory, sent).to_bytes())
    assert _same(back.memory, memory)
    assert _same(back.sent, sent)
    assert list(back.models) == list(models)
    for role, (backbone, own) in models.items():
        assert back.models[role][0] == backbone
        assert _same(back.models[role][1], own)


def test_equal_states_are_equal_bytes() -> None:
    one = Kept({"m": ("tiny", {"w": torch.ones(2)})}, {"a": 1, "b": torch.zeros(3)}, {})
    other = Kept({"m": ("tiny", {"w": torch.ones(2)})}, {"b": torch.zeros(3), "a": 1}, {})
    assert one.to_bytes() == other.to_bytes()


def test_nothing_kept_is_nothing() -> None:
    assert not Kept()
    assert Kept(memory={"a": 0})
    assert Kept(models={"m": ("tiny", {})})


@pytest.mark.parametrize("value", [[1, 2], None, {"a": 1}, object(), b"bytes"])
def test_what_cannot_rest_is_named(value) -> None:
    with pytest.raises(RunError, match=r"memory holds tensors, numbers and strings; 'thoughts' is a \w+"):
        Kept(memory={"thoughts": value}).to_bytes()


@pytest.mark.parametrize("blob", [b"", b"\x80\x04N.", b"\x10" + b"\0" * 30])
def test_other_bytes_are_refused(blob) -> None:
    with pytest.raises(PayloadError):
        Kept.from_bytes(blob)
