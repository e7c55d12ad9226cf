import subprocess
import sys

import pytest

from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.topologies import Star
from fedbench_core.registry import registry
from fedbench_core.testing import AggregatorContract, CompressorContract, TopologyContract

pytest_plugins = ["pytester"]


class Apart(Star):
    connected = False


class Keeps(Mean):
    streaming = False


@pytest.mark.parametrize(
    ("suite", "part", "case"),
    [
        (TopologyContract, Apart(), "test_news_reaches_everyone"),
        (AggregatorContract, Keeps(), "test_holds_one_message_at_a_time"),
    ],
)
def test_what_a_part_declares_not_to_do_is_not_asked_of_it(suite, part, case) -> None:
    with pytest.raises(pytest.skip.Exception, match="declares"):
        getattr(suite(), case)(part)


def test_a_suite_without_a_name_says_so() -> None:
    with pytest.raises(TypeError, match="needs the name of a registered compressor"):
        CompressorContract().make()


def test_a_suite_does_not_exist_by_another_name() -> None:
    with pytest.raises(ImportError, match="SvdContract"):
        from fedbench_core.testing import SvdContract  # noqa: F401, PLC0415  # the import is what is tested


def test_the_pytest_plugin_loads_no_torch() -> None:
    code = "import sys, fedbench_core.testing.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_three_lines_are_a_suite(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from fedbench_core.testing import TopologyContract


        class TestStar(TopologyContract):
            name = "star"


        class TestMissing(TopologyContract):
            name = "stra"
    """)
    registry()  # pytester forgets what is first imported in its run, and the registry would hold on to it
    result = pytester.runpytest_inprocess("-q", "-k", "nobody or value")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*No topology named 'stra'. Did you mean 'star'*"])
