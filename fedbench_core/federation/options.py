"""The options of a request, `--set PART.OPTION=VALUE`, given to the parts that have them."""

from typing import Any

from fedbench_core.api import Method, RequestError, unknown
from fedbench_core.federation.architectures import timm_options
from fedbench_core.federation.resolved import KINDS
from fedbench_core.federation.spec import RunSpec
from fedbench_core.registry import registry


class Options:
    """The options of a request: those of `--set`, over the method's own for parts that were not replaced."""

    def __init__(self, spec: RunSpec, method: Method) -> None:
        self.method = method
        self.given: dict[str, dict[str, Any]] = {}
        self.used: dict[str, Any] = {}
        for key, value in spec.set.items():
            prefix, _, option = key.partition(".")
            if prefix not in KINDS or not option:
                raise _misplaced(key, spec, method)
            self.given.setdefault(prefix, {})[option] = value

    def part(self, prefix: str, name: str, own: str | None = None) -> Any:
        """The part `name`; the method's options apply if it is the method's `own`."""
        options = {**(self.method.options.get(prefix, {}) if name == own else {}), **self.given.pop(prefix, {})}
        checked = registry().check(KINDS[prefix], name, options)
        self.used |= {f"{prefix}.{option}": value for option, value in checked.items()}
        return registry().make(KINDS[prefix], name, checked)


def _misplaced(key: str, spec: RunSpec, method: Method) -> RequestError:
    """The error for an option that is not written as that of a part, with the part of this run that has it."""
    own = [one for one in _every_option(spec, method) if one.partition(".")[2] == key]
    if own:
        return RequestError(
            f"--set {key}: name the part as well, --set {' or '.join(f'{one}={spec.set[key]}' for one in own)}."
        )
    prefix, dot, _ = key.partition(".")
    hint = f"Options are written PART.OPTION=VALUE; got {key!r}."
    return unknown("part", prefix, KINDS, hint) if dot else unknown("option", key, _every_option(spec, method), hint)


def _every_option(spec: RunSpec, method: Method) -> list[str]:
    """The options of all parts of a run, as PART.OPTION."""
    names = {part: getattr(spec, part, None) or getattr(method, part, None) for part in KINDS if part != "public"}
    found = [f"backbone.{option.name}" for option in timm_options()]
    for part, given in names.items():
        name = str(given).partition(":")[0]  # of a dataset, the path follows
        if name in registry().names(KINDS[part]):
            found += [f"{part}.{option.name}" for option in registry().options(KINDS[part], name)]
    return found
