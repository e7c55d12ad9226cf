from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.records.differences import Difference, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_differences_name_the_path_of_each_leaf() -> None:
    before = {"a": {"b": [1, {"c": 2}], "same": 3}, "gone": 4, "longer": [1]}
    now = {"a": {"b": [1, {"c": 5}], "same": 3}, "new": None, "longer": [1, 2]}
    assert list(differences(before, now)) == [
        Difference("a.b.1.c", 2, 5),
        Difference("gone", 4, None),
        Difference("longer", [1], [1, 2]),
    ]
    assert [str(one) for one in differences({"torch": "2.4"}, {"torch": "2.15"})] == ["torch 2.4 (now 2.15)"]


@given(JSON)
def test_value_does_not_differ_from_itself(value) -> None:
    assert not list(differences(value, value))


@given(JSON, JSON)
def test_differences_are_symmetric(one, other) -> None:
    there, back = list(differences(one, other)), list(differences(other, one))
    assert {(d.path, repr(d.before), repr(d.now)) for d in there} == {
        (d.path, repr(d.now), repr(d.before)) for d in back
    }
