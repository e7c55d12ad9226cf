import os

import pytest
import torch
from torch.nn.modules import module

from fedbench_core.api import API_VERSION, Method, RequestError
from fedbench_core.parts.compressors import Dense
from fedbench_core.registry import KINDS, Plugin, Registry, registry
from fedbench_core.registry.checks import MIGRATION
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


def test_plugin_is_found_by_its_entry_point(distribution, load):
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


def test_description_is_the_docstring_of_the_class_itself(distribution, load):
    distribution("fedbench-good", GOOD, version="2.3")
    found = load()
    thin = found.describe("compressor", "test-thin")
    assert (thin.distribution, thin.version, thin.summary) == ("fedbench-good", "2.3", "Keeps every n-th entry.")
    assert thin.doc == "Keeps every n-th entry.\n\nThe rest is gone."
    assert found.describe("compressor", "test-silent").summary == ""
    assert found.describe("method", "test-method").summary == "A method."


def test_unknown_name_is_refused_with_close_names_and_broken_plugins(distribution, load):
    distribution("fedbench-good", GOOD)
    distribution("fedbench-broken", "raise OSError('no disk')")
    with pytest.raises(RequestError) as miss:
        load().make("compressor", "test-thim")
    text = str(miss.value)
    expected = ("'test-thim'", "Did you mean 'test-thin'", "fedbench-broken", "fedbench plugins")
    assert all(part in text for part in expected)


def test_options_that_a_factory_refuses_are_a_request_error(distribution, load):
    distribution("fedbench-good", GOOD)
    with pytest.raises(RequestError, match=r"'test-thin' .* thirteen brings bad luck"):
        load().make("compressor", "test-thin", {"every": 13})


def test_name_of_two_plugins_is_refused_and_other_names_work(distribution, load):
    distribution("fedbench-good", GOOD)
    distribution("fedbench-taker", TAKER, version="0.9")
    found = load()
    for ask in (found.make, found.check, found.options, found.describe):
        with pytest.raises(RequestError) as clash:
            ask("compressor", "test-thin")
        assert all(part in str(clash.value) for part in ("'test-thin'", "fedbench-good 1.0", "fedbench-taker 0.9"))
    assert found.names("compressor", "test-*") == ["test-own", "test-silent"]
    assert found.make("compressor", "test-own") == Dense()
    assert found.kinds("test-thin") == found.kinds("test-own") == ["compressor"]
    assert found.kinds("test-nobody") == []
    for name in ("fedbench-good", "fedbench-taker"):
        (problem,) = the(found.plugins(), name).problems
        assert "fedbench-good" in problem
        assert "fedbench-taker" in problem


@pytest.mark.parametrize("source", ["raise RuntimeError('boom')", "import sys; sys.exit('boom')", "import boom"])
def test_plugin_that_fails_on_import_is_listed_with_the_reason(distribution, load, source):
    distribution("fedbench-bad", source)
    distribution("fedbench-good", GOOD)
    found = load()
    (problem,) = the(found.plugins(), "fedbench-bad").problems
    assert problem.startswith("failed to load: ")
    assert "boom" in problem
    assert found.names("compressor", "test-*") == ["test-silent", "test-thin"]


def test_entry_point_without_a_module_is_listed(distribution, load):
    module = distribution("fedbench-bad", "", entry_points="a = no_such_module_xyz\nb = fedbench_bad_module:nothing")
    plugins = [plugin for plugin in load().plugins() if plugin.distribution == "fedbench-bad"]
    assert module == "fedbench_bad_module"
    assert [plugin.entry_point for plugin in plugins] == ["a", "b"]
    assert "no_such_module_xyz" in plugins[0].problems[0]
    assert "nothing" in plugins[1].problems[0]


OLD_PARTS = """
from fedbench_core.api import {imports}hookimpl


class OldUpdate:
    builds = ()

    def inspect(self, client, ctx):
        return ()

    def setup(self, client, ctx): ...

    def update(self, client, heard, ctx): ...

    def predictors(self, client, heard, ctx): ...


class OldStar:
    connected = True

    def home(self, client): ...


@hookimpl
def fedbench_register_local_updates():
    return {{"test-old": OldUpdate}}


@hookimpl
def fedbench_register_topologies():
    return {{"test-old": OldStar}}
"""
OLD_KINDS = ("local_update", "topology")


@pytest.mark.parametrize(("difference", "advice"), [(1, "upgrade fedbench-core"), (-1, MIGRATION)])
def test_plugin_of_another_contract_version_is_listed_but_not_loaded(distribution, load, difference, advice):
    version = API_VERSION + difference
    distribution("fedbench-other", f"api_version = {version}\n{GOOD}")
    found = load()
    plugin = the(found.plugins(), "fedbench-other")
    (problem,) = plugin.problems
    assert all(part in problem for part in (f"version {version} ", f"version {API_VERSION}:", advice))
    assert plugin.registers == {}
    assert found.names("compressor", "test-*") == []


def test_plugin_that_imports_a_name_of_contract_1_is_listed_with_the_migration(distribution, load):
    distribution("fedbench-old", f"api_version = 1\n{OLD_PARTS.format(imports='Reply, ')}")
    (problem,) = the(load().plugins(), "fedbench-old").problems
    assert "cannot import name 'Reply'" in problem
    assert MIGRATION in problem


def test_parts_of_contract_1_without_a_declared_version_are_listed_with_the_migration(distribution, load):
    distribution("fedbench-old", OLD_PARTS.format(imports=""))
    found = load()
    problems = the(found.plugins(), "fedbench-old").problems
    assert len(problems) == len(OLD_KINDS)
    assert all(MIGRATION in problem for problem in problems)
    for kind in OLD_KINDS:
        assert found.names(kind, "test-old") == []
        with pytest.raises(RequestError, match="'test-old' of fedbench-old"):
            found.make(kind, "test-old")


def test_migration_names_what_contract_2_changed():
    for text in ("train()", "Update", "Message", "start(state, ctx)", "result()", "phases", "fedbench reference"):
        assert text in MIGRATION


def test_plugin_that_declares_this_contract_version_is_loaded(distribution, load):
    distribution("fedbench-good", f"api_version = {API_VERSION}\n{GOOD}")
    assert load().names("compressor", "test-*") == ["test-silent", "test-thin"]


def test_output_of_a_plugin_goes_to_stderr(distribution, load, capsys):
    distribution("fedbench-loud", "print('hello')")
    load()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")


def test_distribution_without_metadata_is_listed_as_unknown(distribution, load, tmp_path):
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
            "fedbench_register_compressors: TypeError: returned list, not a mapping from names to factories",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return None",
            "fedbench_register_compressors: TypeError: returned NoneType, not a mapping from names to factories",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return {'test-x': 3}",
            "fedbench_register_compressors: 'test-x' is of type int, not a callable factory",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(): return {3: dict}",
            "fedbench_register_compressors: 3 is not a name",
        ),
        (
            "@hookimpl\ndef fedbench_register_methods(): return {'test-x': dict}",
            "fedbench_register_methods: 'test-x' is of type type, not a Method",
        ),
        (
            "@hookimpl\ndef fedbench_register_compressors(color): return {'test-x': dict}",
            "failed to load: a hook of another contract version",
        ),
    ],
)
def test_hook_that_fails_is_a_problem_of_its_plugin_alone(distribution, load, source, problem):
    more = "\n@hookimpl\ndef fedbench_register_datasets(): return {'test-fine': lambda: 'fine'}"
    distribution("fedbench-bad", HOOK + source + more)
    distribution("fedbench-good", GOOD)
    found = load()
    (found_problem,) = the(found.plugins(), "fedbench-bad").problems
    assert found_problem.startswith(problem)
    assert not any("test-x" in found.names(kind) for kind in KINDS)
    assert "test-thin" in found.names("compressor")
    if not problem.startswith("failed to load"):
        assert found.names("dataset", "test-fine") == ["test-fine"]


def test_global_setting_that_an_import_changes_is_restored_and_reported(distribution, load):
    distribution("fedbench-bad", "import torch; torch.set_default_dtype(torch.float64)\n" + HOOK)
    distribution("fedbench-worse", "import numpy as np; np.seterr(all='ignore'); raise OSError('no disk')")
    distribution("fedbench-hooks", "from torch.nn.modules.module import *\nregister_module_forward_hook(print)")
    distribution("fedbench-env", "import os; os.environ['OMP_NUM_THREADS'] = '7'; os.environ.pop('MKL_CBWR', 0)")
    threads = os.environ.get("OMP_NUM_THREADS")
    found = load()
    for name, change in {"hooks": "torch's hooks of all", "env": "the environment variable OMP_NUM_THREADS"}.items():
        (problem,) = the(found.plugins(), f"fedbench-{name}").problems
        assert problem.startswith(f"its import changed {change}")
    assert os.environ.get("OMP_NUM_THREADS") == threads
    torch.nn.Identity()(3)  # prints nothing, and returns
    assert not module._global_forward_hooks
    assert torch.get_default_dtype() == torch.float32
    (problem,) = the(found.plugins(), "fedbench-bad").problems
    assert problem.startswith("its import changed torch's default dtype from torch.float32 to torch.float64")
    problems = the(found.plugins(), "fedbench-worse").problems
    assert [problem.partition(" from ")[0] for problem in problems] == [
        "failed to load: OSError: no disk",
        "its import changed numpy's handling of floating-point errors",
    ]


def test_import_that_hangs_is_named_on_interrupt(distribution, load):
    distribution("fedbench-waits", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt, match=r"fedbench-waits 1\.0"):
        load()


def test_option_without_annotation_is_a_problem_of_its_plugin(distribution, load):
    distribution(
        "fedbench-bad",
        HOOK + "def loose(alpha=1): ...\n@hookimpl\ndef fedbench_register_compressors(): "
        "return {'test-loose': loose, 'test-fine': lambda: 'fine'}",
    )
    found = load()
    with pytest.raises(RequestError, match=r"'test-loose' of fedbench-bad .*'alpha'"):
        found.make("compressor", "test-loose")
    assert "'alpha'" in the(found.plugins(), "fedbench-bad").problems[0]
    assert found.names("compressor", "test-*") == ["test-fine"]


def test_plugins_are_sorted_by_distribution(distribution, load):
    for name in ("fedbench-zz", "fedbench-aa", "fedbench-mm"):
        distribution(name, "")
    order = [plugin.distribution for plugin in load().plugins()]
    assert order == sorted(order)
    assert {"fedbench-aa", "fedbench-mm", "fedbench-zz"} <= set(order)


def test_unknown_kind_is_a_value_error():
    with pytest.raises(ValueError, match="no kind 'compresor'"):
        Registry([], []).names("compresor")


def test_registry_is_made_once_per_process():
    assert registry() is registry()


def test_name_that_is_no_file_name_is_refused_when_it_is_registered(distribution, load):
    names = ["", "../x", "a/b", "/etc", "..", ".x", "-x", "a b", "a\nb", "a,b", "a:b", "é", "\x1b[0m", "x" * 65, 3]
    source = (
        "from fedbench_core.api import Method, hookimpl\n"
        f"@hookimpl\ndef fedbench_register_compressors(): return dict.fromkeys({names!r}, dict)\n"
        f"@hookimpl\ndef fedbench_register_methods(): return dict.fromkeys({names!r}, Method('x'))"
    )
    distribution("fedbench-bad", source)
    found = load()
    problems = the(found.plugins(), "fedbench-bad").problems
    assert all(sum(f"{name!r} is not a name" in problem for problem in problems) == 2 for name in names)
    assert the(found.plugins(), "fedbench-bad").registers == {}
