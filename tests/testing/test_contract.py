import subprocess
import sys

import pytest

from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.topologies import Star
from fedbench_core.registry import registry
from fedbench_core.testing import AggregatorContract, CompressorContract, TopologyContract
from fedbench_core.testing.inputs import inputs_for

pytest_plugins = ["pytester"]


class Apart(Star):
    connected = False


class Keeps(Mean):
    streaming = False


def test_topology_that_is_not_connected_is_not_tested_for_it() -> None:
    with pytest.raises(pytest.skip.Exception, match="connected = False"):
        TopologyContract().test_information_reaches_every_client(Apart())


def test_aggregator_that_keeps_messages_is_not_tested_for_memory(tmp_path) -> None:
    with pytest.raises(pytest.skip.Exception, match="streaming = False"):
        AggregatorContract().test_holds_one_message_at_a_time(Keeps(), inputs_for(Keeps(), "keeps", tmp_path))


def test_suite_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="needs the name of a registered compressor"):
        CompressorContract().make()


def test_suite_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ImportError, match="SvdContract"):
        from fedbench_core.testing import SvdContract  # noqa: F401, PLC0415  # the import is what is tested


def test_pytest_plugin_loads_no_torch() -> None:
    code = "import sys, fedbench_core.testing.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_suite_takes_three_lines(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from fedbench_core.testing import TopologyContract


        class TestStar(TopologyContract):
            name = "star"


        class TestMissing(TopologyContract):
            name = "stra"
    """)
    registry()  # before pytester's run, which forgets what it imports
    result = pytester.runpytest_inprocess("-q", "-k", "no_client or value")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*No topology named 'stra'. Did you mean 'star'*"])
