import pytest

from fedbench_core.parts.references import Local
from fedbench_core.testing import LocalUpdateContract
from fedbench_core.testing.small import cache_of


def test_update_that_no_method_uses_is_refused(tmp_path_factory) -> None:
    suite = type("Suite", (LocalUpdateContract,), {"name": "unused"})()
    with pytest.raises(AssertionError, match="no method uses the local update 'unused'"):
        suite._small(Local(), cache_of(tmp_path_factory))
