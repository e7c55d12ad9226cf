"""The README's options and commands are those of the plugin."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from fedbench_core import RunSpec
from fedbench_core.federation.assembly import resolve
from fedbench_fedskd import FedSKD

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^fedbench run (--.*?) *(?:#.*)?$", README, re.MULTILINE)


def test_table_has_every_option_with_its_default() -> None:
    section = README.partition("## Options")[2].partition("The ablations")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| ", section, re.MULTILINE)
    listed = [pair for names, defaults in rows for pair in zip(names.split(", "), defaults.split(", "), strict=True)]
    defaults = {f"`{option.name}`": option.default for option in dataclasses.fields(FedSKD)}
    assert dict(listed).keys() == defaults.keys()
    for name, value in listed:
        default = defaults[name]
        assert value.strip("`") == (f"{default:g}" if isinstance(default, float) else str(default).lower()), name


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_a_valid_request(command) -> None:
    words = shlex.split(command)
    flags = list(zip(words[::2], words[1::2], strict=True))
    settings = {flag.removeprefix("--"): value for flag, value in flags if flag != "--set"}
    options = dict(value.split("=") for flag, value in flags if flag == "--set")
    resolve(RunSpec.of({**settings, "set": options}))
