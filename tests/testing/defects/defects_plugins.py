"""Plugins that cannot be used as they are: {distribution: (source, a word of the message that says why)}."""

_HEAD = """
from dataclasses import dataclass
from fedbench_core.api import hookimpl
from fedbench_core.parts.compressors import Dense
"""
_METHOD = f"""{_HEAD}
from fedbench_core.api import Method

@hookimpl
def fedbench_register_methods(): return {{"d-method": Method("local", summary="A sentence.", WHAT)}}
"""
_HOOK = "\n@hookimpl\ndef fedbench_register_compressors(): return "

DEFECTS = {
    "fedbench-d-untyped": (f"{_HEAD}def loose(alpha=1): ...{_HOOK}{{'d-loose': loose}}", "no type annotation"),
    "fedbench-d-taken": (f"{_HEAD}{_HOOK}{{'svd': Dense}}", "claimed by"),
    "fedbench-d-misspelt": (f"{_HEAD}{_HOOK}{{}}".replace("compressors()", "compresors()"), "did you mean"),
    "fedbench-d-unmarked": (f"{_HEAD}{_HOOK}{{}}".replace("@hookimpl\ndef", "def"), "not marked with @hookimpl"),
    "fedbench-d-import": ("import a_module_that_is_not_there", "No module named"),
    "fedbench-d-raises": ("raise OSError('no disk')", "no disk"),
    "fedbench-d-exits": ("import sys; sys.exit(3)", "SystemExit"),
    "fedbench-d-newer": (f"{_HEAD}api_version = 99{_HOOK}{{'d-newer': Dense}}", "version 99 of the contract"),
    "fedbench-d-renamed": ("from fedbench_core.api import Squeezer", "this fedbench has version 2"),
    "fedbench-d-signature": (
        f"{_HEAD}{_HOOK}{{}}".replace("compressors()", "compressors(registry)"),
        "a hook of another contract version",
    ),
    "fedbench-d-list": (f"{_HEAD}{_HOOK}['d-list']", "not a mapping"),
    "fedbench-d-instance": (f"{_HEAD}{_HOOK}{{'d-instance': 3}}", "not a callable"),
    "fedbench-d-default": (
        f"{_HEAD}@dataclass(frozen=True)\nclass Odd(Dense):\n    rank: int = 'full'\n{_HOOK}{{'d-odd': Odd}}",
        "the default of option 'rank'",
    ),
    "fedbench-d-double": ("import torch; torch.set_default_dtype(torch.float64)", "changed torch's default dtype"),
    "fedbench-d-elsewhere": ("import os; os.chdir('/')", "changed the working directory"),
    "fedbench-d-pins": (_METHOD.replace("WHAT", "pinned=('aggregater',)"), "pins 'aggregater'; expected aggregator"),
    "fedbench-d-pins-messages": (_METHOD.replace("WHAT", "pinned='topology'"), "should be a valid tuple"),
    "fedbench-d-pool": (_METHOD.replace("WHAT", "data='pool'"), "should be 'clients' or 'centralized'"),
    "fedbench-d-options": (_METHOD.replace("WHAT", "options={'compresor': {}}"), "has options of compresor"),
}
