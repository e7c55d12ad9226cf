import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("damage", Path(__file__).parents[1] / "damage.py")
damage = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(damage)


@pytest.mark.parametrize("cases", [range(60), pytest.param(range(60, 1000), marks=pytest.mark.slow)], ids=len)
def test_damaged_file_gives_the_same_outcome_or_an_error_in_one_sentence(cases, kit, tmp_path, monkeypatch) -> None:  # noqa: ARG001  # installed
    monkeypatch.setattr(damage.cache, "SMALL_BYTES", damage.cache.SMALL_BYTES)  # restored afterwards
    runs = damage.Damage(tmp_path)
    assert {runs.survive(case).partition(":")[0] for case in cases} >= {"state", "record", "table", "cache", "npz"}
