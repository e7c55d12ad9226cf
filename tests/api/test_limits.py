"""Limits on files that others wrote: sizes before reading, nesting before use."""

import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import DataError, RequestError
from fedbench_core.api.limits import DEPTH, SETTING, TEXT_BYTES, check_size, parse_json, parse_toml, read_text


@given(depth=st.integers(1, 2 * DEPTH), inner=st.sampled_from([("[", "]"), ('{"a":', "}")]))
def test_json_is_read_to_a_depth_and_refused_beyond(depth, inner) -> None:
    text = inner[0] * depth + "1" + inner[1] * depth
    if depth > DEPTH + 1:
        with pytest.raises(ValueError, match="nested"):
            parse_json(text)
    else:
        assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_json, "[" * 100_000), (parse_json, '{"a":' * 100_000), (parse_toml, "a = " + "[" * 9_000)],
)
def test_nesting_beyond_the_stack_is_a_value_error(parse, text) -> None:
    with pytest.raises(ValueError, match="nested"):
        parse(text)


def test_file_that_is_too_large_is_refused_with_its_size_and_the_setting(tmp_path, monkeypatch) -> None:
    path = tmp_path / "big.json"
    path.touch()
    os.truncate(path, TEXT_BYTES + 7)  # sparse: nothing is allocated
    with pytest.raises(DataError) as error:
        read_text(path)
    assert all(text in str(error.value) for text in (str(path), str(TEXT_BYTES + 7), f"{SETTING}={TEXT_BYTES + 7}"))
    monkeypatch.setenv(SETTING, "1kB")
    os.truncate(path, 1001)
    with pytest.raises(DataError, match="1001"):
        read_text(path)
    os.truncate(path, 1000)
    assert len(read_text(path)) == 1000


def test_pipe_is_read_no_further_than_the_limit(tmp_path, monkeypatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv(SETTING, "1kB")
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"x" * 5000))
    writer.start()
    with pytest.raises(DataError, match="pipe"):
        read_text(pipe)
    writer.join()


def test_setting_replaces_a_limit_and_is_checked(tmp_path, monkeypatch) -> None:
    with pytest.raises(DataError):
        check_size(tmp_path, 11, 10, "has")
    monkeypatch.setenv(SETTING, "11B")
    check_size(tmp_path, 11, 10, "has")
    monkeypatch.setenv(SETTING, "much")
    with pytest.raises(RequestError, match=f"{SETTING}=much"):
        check_size(tmp_path, 11, 10, "has")
