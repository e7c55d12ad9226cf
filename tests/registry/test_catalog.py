import pytest
import torch

from fedbench_core.api import API_VERSION, Method, RequestError
from fedbench_core.parts.compressors import Dense
from fedbench_core.registry import KINDS, Plugin, Registry, registry
from fedbench_core.registry.plugins import discover

GOOD = '''
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedbench_core.api import Method, hookimpl
from fedbench_core.parts.compressors import Dense


@dataclass(frozen=True)
class Thin(Dense):
    """Keeps every n-th entry.

    The rest is gone.
    """

    every: Annotated[int, Field(ge=1, description="stride")] = 2

    def __post_init__(self):
        if self.every == 13:
            raise ValueError("thirteen brings bad luck")


@dataclass(frozen=True)
class Silent(Dense):
    depth: int = 1


@hookimpl
def fedbench_register_compressors():
    return {"test-thin": Thin, "test-silent": Silent}


@hookimpl
def fedbench_register_methods():
    return {"test-method": Method(local_update="x", summary="A method.")}
'''

TAKER = """
from fedbench_core.api import hookimpl
from fedbench_core.parts.compressors import Dense


@hookimpl
def fedbench_register_compressors():
    return {"test-thin": dict, "test-own": Dense}
"""


def the(plugins: list[Plugin], distribution: str) -> Plugin:
    (found,) = [plugin for plugin in plugins if plugin.distribution == distribution]
    return found


@pytest.fixture
def load():
    return lambda: Registry(*discover())


def test_a_plugin_is_found_by_its_entry_point(distribution, load):
    distribution("fedbench-good", GOOD, version="2.3")
    found = load()
    plugin = the(found.plugins(), "fedbench-good")
    assert (plugin.version, plugin.entry_point, plugin.problems) == ("2.3", "parts", [])
    assert plugin.registers == {"compressor": ["test-thin", "test-silent"], "method": ["test-method"]}
    assert found.names("compressor", "test-*") == ["test-silent", "test-thin"]
    assert found.names("compressor", "test-t*") == ["test-thin"]
    assert found.names("compressor", "st-thi") == ["test-thin"]
    assert found.names("compressor", "thi?") == []
    assert found.make("compressor", "test-thin").every == 2
    assert found.make("compressor", "test-thin", {"every": "5"}).every == 5
    assert found.check("compressor", "test-thin", {"every": "5"}) == {"every": 5}
    assert found.method("test-method") == Method(local_update="x", summary="A method.")


def test_a_name_is_described_by_its_own_documentation_only(distribution, load):
    distribution("fedbench-good", GOOD, version="2.3")
    found = load()
    thin = found.describe("compressor", "test-thin")
    assert (thin.distribution, thin.version, thin.summary) == ("fedbench-good", "2.3", "Keeps every n-th entry.")
    assert thin.doc == "Keeps every n-th entry.\n\nThe rest is gone."
    assert found.describe("compressor", "test-silent").summary == ""
    assert found.describe("method", "test-method").summary == "A method."


def test_a_miss_shows_close_names_and_points_at_broken_plugins(distribution, load):
    distribution("fedbench-good", GOOD)
    distribution("fedbench-broken", "raise OSError('no disk')")
    with pytest.raises(RequestError) as miss:
        load().make("compressor", "test-thim")
    text = str(miss.value)
    assert "No compressor named 'test-thim'. Did you mean 'test-thin'" in text
    assert "Something is wrong with fedbench-broken: `fedbench plugins` says what." in text


def test_a_factory_that_refuses_its_options_is_a_wrong_request(distribution, load):
    distribution("fedbench-good", GOOD)
    with pytest.raises(RequestError, match="compressor 'test-thin' refuses these options: thirteen brings bad luck"):
        load().make("compressor", "test-thin", {"every": 13})


def test_a_second_claim_is_an_error_that_names_both_and_harms_no_other_name(distribution, load):
    distribution("fedbench-good", GOOD)
    distribution("fedbench-taker", TAKER, version="0.9")
    found = load()
    for ask in (found.make, found.check, found.options, found.describe):
        with pytest.raises(RequestError) as clash:
            ask("compressor", "test-thin")
        assert str(clash.value) == (
            "The compressor 'test-thin' is claimed by fedbench-good 1.0 (entry point 'parts') and "
            "fedbench-taker 0.9 (entry point 'parts'); uninstall all but one."
        )
    assert found.names("compressor", "test-*") == ["test-own", "test-silent"]
    assert found.make("compressor", "test-own") == Dense()
    assert found.kinds("test-thin") == found.kinds("test-own") == ["compressor"]
    assert found.kinds("test-nobody") == []
    for name in ("fedbench-good", "fedbench-taker"):
        (problem,) = the(found.plugins(), name).problems
        assert "fedbench-good" in problem
        assert "fedbench-taker" in problem


@pytest.mark.parametrize("source", ["raise RuntimeError('boom')", "import sys; sys.exit('boom')", "import boom"])
def test_a_plugin_that_fails_on_import_is_listed_with_its_reason(distribution, load, source):
    distribution("fedbench-bad", source)
    distribution("fedbench-good", GOOD)
    found = load()
    (problem,) = the(found.plugins(), "fedbench-bad").problems
    assert problem.startswith("failed to load: ")
    assert "boom" in problem
    assert found.names("compressor", "test-*") == ["test-silent", "test-thin"]


def test_an_entry_point_to_nowhere_is_listed_too(distribution, load):
    module = distribution("fedbench-bad", "", entry_points="a = no_such_module_xyz\nb = fedbench_bad_module:nothing")
    plugins = [plugin for plugin in load().plugins() if plugin.distribution == "fedbench-bad"]
    assert module == "fedbench_bad_module"
    assert [plugin.entry_point for plugin in plugins] == ["a", "b"]
    assert "no_such_module_xyz" in plugins[0].problems[0]
    assert "nothing" in plugins[1].problems[0]


def test_a_plugin_for_another_version_of_the_contract_is_listed_and_not_asked(distribution, load):
    for name, version, newer in (("fedbench-new", "2", "fedbench-core"), ("fedbench-old", "0", "plugin")):
        distribution(name, f"api_version = {version}\n{GOOD}")
        found = load()
        plugin = the(found.plugins(), name)
        reason = f"is written for version {version} of the contract, and this fedbench has version 1"
        assert plugin.problems == [f"{reason}: install a newer {newer}"]
        assert plugin.registers == {}
    assert found.names("compressor", "test-*") == []


def test_a_plugin_that_asks_for_a_name_of_another_version_gets_a_hint(distribution, load):
    distribution("fedbench-new", "from fedbench_core.api import Squeezer")
    (problem,) = the(load().plugins(), "fedbench-new").problems
    assert "cannot import name 'Squeezer'" in problem
    assert problem.endswith("(this fedbench has version 1; is it written for another one?)")


def test_a_plugin_may_say_for_which_version_it_is(distribution, load):
    distribution("fedbench-good", f"api_version = {API_VERSION}\n{GOOD}")
    assert load().names("compressor", "test-*") == ["test-silent", "test-thin"]


def test_what_a_plugin_prints_does_not_get_into_what_a_command_prints(distribution, load, capsys):
    distribution("fedbench-loud", "print('hello')")
    load()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_a_distribution_without_metadata_harms_nobody(distribution, load, tmp_path):
    distribution("fedbench-good", GOOD)
    distribution("fedbench-torn", "")
    (tmp_path / "site" / "fedbench_torn-1.0.dist-info" / "METADATA").write_text("")
    found = load()
    assert found.names("compressor", "test-*") == ["test-silent", "test-thin"]
    assert "unknown" in {plugin.distribution for plugin in found.plugins()}


HOOK = "from fedbench_core.api import hookimpl\n"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "@hookimpl\ndef fedbench_register_compressor(): return {'test-x': dict}",
            "fedbench_register_compressor is no hook of fedbench; did you mean fedbench_register_compressors?",
        ),
        (
            "def fedbench_register_compresors(): return {'test-x': dict}",
            "fedbench_register_compresors is no hook of fedbench; did you mean fedbench_register_compressors?",
        ),
        (
            "@hookimpl\ndef register_something(): return {'test-x': dict}",
            "register_something is no hook of fedbench",
        ),
        (
            "def fedbench_register_compressors(): return {'test-x': dict}",
            "fedbench_register_compressors is not marked with @hookimpl, so it is not called",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): raise OSError('no file')",
            "fedbench_register_compressors: OSError: no file",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): raise SystemExit(3)",
            "fedbench_register_compressors: SystemExit: 3",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return ['test-x']",
            "fedbench_register_compressors: TypeError: gave list, not a mapping from names to factories",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return None",
            "fedbench_register_compressors: TypeError: gave NoneType, not a mapping from names to factories",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return {'test-x': 3}",
            "fedbench_register_compressors: 'test-x' is of type int, not a callable factory",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return {3: dict}",
            "fedbench_register_compressors: 3 is no name",
        ),
        (
            "@hookimpl\ndef fedbench_register_methods(): return {'test-x': dict}",
            "fedbench_register_methods: 'test-x' is of type type, not a Method",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(color): return {'test-x': dict}",
            "failed to load: a hook of another version of the contract (this fedbench has version 1): ",
        ),
    ],
)
def test_a_hook_gone_wrong_is_its_plugins_problem_and_nobody_elses(distribution, load, source, problem):
    more = "\n@hookimpl\ndef fedbench_register_datasets(): return {'test-fine': lambda: 'fine'}"
    distribution("fedbench-bad", HOOK + source + more)
    distribution("fedbench-good", GOOD)
    found = load()
    (said,) = the(found.plugins(), "fedbench-bad").problems
    assert said.startswith(problem)
    assert not any("test-x" in found.names(kind) for kind in KINDS)
    assert "test-thin" in found.names("compressor")
    if not problem.startswith("failed to load"):
        assert found.names("dataset", "test-fine") == ["test-fine"]


def test_what_an_import_changes_for_everybody_is_put_back_and_told(distribution, load):
    distribution("fedbench-bad", "import torch; torch.set_default_dtype(torch.float64)\n" + HOOK)
    distribution("fedbench-worse", "import numpy as np; np.seterr(all='ignore'); raise OSError('no disk')")
    found = load()
    assert torch.get_default_dtype() == torch.float32
    (said,) = the(found.plugins(), "fedbench-bad").problems
    assert said.startswith("its import changed torch's default dtype from torch.float32 to torch.float64, which would")
    reasons = the(found.plugins(), "fedbench-worse").problems
    assert [reason.partition(" from ")[0] for reason in reasons] == [
        "failed to load: OSError: no disk",
        "its import changed numpy's handling of floating-point errors",
    ]


def test_an_import_that_does_not_end_is_named_when_somebody_ends_it(distribution, load):
    distribution("fedbench-waits", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt, match=r"waiting for fedbench-waits 1\.0 \(entry point 'parts'\)"):
        load()


def test_an_untyped_option_is_its_plugins_problem(distribution, load):
    distribution(
        "fedbench-bad",
        HOOK + "def loose(alpha=1): ...\n@hookimpl\ndef fedbench_register_compressors(): "
        "return {'test-loose': loose, 'test-fine': lambda: 'fine'}",
    )
    found = load()
    with pytest.raises(RequestError, match=r"'test-loose' of fedbench-bad .* option 'alpha' has no type annotation"):
        found.make("compressor", "test-loose")
    assert "'alpha' has no type annotation" in the(found.plugins(), "fedbench-bad").problems[0]
    assert found.names("compressor", "test-*") == ["test-fine"]


def test_plugins_come_in_the_same_order_whatever_the_path_says(distribution, load):
    for name in ("fedbench-zz", "fedbench-aa", "fedbench-mm"):
        distribution(name, "")
    order = [plugin.distribution for plugin in load().plugins()]
    assert order == sorted(order)
    assert {"fedbench-aa", "fedbench-mm", "fedbench-zz"} <= set(order)


def test_a_kind_that_is_none_is_a_fault_of_the_caller():
    with pytest.raises(ValueError, match="no kind 'compresor'"):
        Registry([], []).names("compresor")


def test_the_process_has_one_registry():
    assert registry() is registry()
