"""Architectures by the names that a spec gives: those of plugins, or else timm's."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from fedbench_core.api import Architecture, RequestError
from fedbench_core.models import TimmArchitecture, knows
from fedbench_core.registry import Option, bind, read_options, registry


def architecture(name: str, given: Mapping[str, Any]) -> tuple[Architecture, dict[str, object]]:
    """A plugin's architecture, or else timm's, with its options; RequestError for what doesn't exist."""
    if "backbone" in registry().kinds(name):  # also one that two plugins claim, which is refused
        _refuse_shadow(name)
        checked = registry().check("backbone", name, given)
        return registry().make("backbone", name, checked), checked
    checked = bind(f"backbone {name!r}", "backbone", timm_options(), given)
    return TimmArchitecture(name, **checked), checked  # type: ignore[arg-type]  # checked against this very signature


@cache
def timm_options() -> tuple[Option, ...]:
    """The same for all backbones of timm; cached, because a suite asks for them thousands of times."""
    return read_options(partial(TimmArchitecture, name=""))


def architecture_of_weights(name: str, given: Mapping[str, Any]) -> Architecture:
    """The architecture of a network whose weights are at hand: without pretrained ones, and by its exact id.

    given: options of several architectures; those that this one doesn't have are left out.
    """
    own = "backbone" in registry().kinds(name)
    known = registry().options("backbone", name) if own else timm_options()
    options = {option.name: given[option.name] for option in known if option.name in given}
    return architecture(name if own else name.partition(".")[0], options)[0]


def _refuse_shadow(name: str) -> None:
    """A plugin must not replace a backbone of timm's in the runs of others."""
    if knows(name):
        whose = registry().describe("backbone", name).distribution
        raise RequestError(
            f"backbone {name!r} is one of timm's, and {whose} registers the same name, so the name is ambiguous. "
            f"Uninstall {whose}, or give its backbone another name."
        )
