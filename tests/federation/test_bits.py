import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.federation.bits import bits_of_text, codes_of_text, text_of_bits, text_of_codes


@given(st.lists(st.booleans(), max_size=40))
def test_bits_come_back(bits) -> None:
    assert bits_of_text(text_of_bits(np.packbits(np.array(bits, bool))), len(bits)).astype(bool).tolist() == bits


@given(st.integers(1, 300).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.integers(0, k - 1), max_size=40))))
def test_codes_come_back(drawn) -> None:
    kinds, codes = drawn
    text = text_of_codes(np.array(codes, np.int64), kinds)
    assert codes_of_text(text, len(codes), kinds).tolist() == codes


def test_codes_take_as_few_bits_as_tell_them_apart() -> None:
    assert text_of_codes(np.array([0, 1, 1, 0, 1, 0, 0, 1]), 2) == "aQ=="  # 0110 1001
    assert len(text_of_codes(np.zeros(6000, np.int64), 8)) == 6000 * 3 / 8 * 4 / 3
