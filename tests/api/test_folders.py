"""Files of the cache: what is damaged counts as missing."""

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from fedbench_core.api.folders import cached, read_cached


@example(content=b"", place=0.999, bits=1)  # only the newline is missing
@given(content=st.binary(max_size=20), place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_file_is_read_as_it_was_written_or_not_at_all(
    tmp_path_factory, content: bytes, place: float, bits: int
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "file"
    whole = cached(content)
    path.write_bytes(whole)
    assert read_cached(path) == content
    at = int(place * len(whole))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
    assert read_cached(path) is None
    path.write_bytes(whole[:at])
    assert read_cached(path) is None
