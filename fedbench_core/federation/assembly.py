"""The parts that a spec names, created before anything is read or trained."""

from collections.abc import Sequence

from pydantic_core import to_jsonable_python

from fedbench_core.api import Architecture, Dataset, Method, RequestError
from fedbench_core.federation.architectures import architecture
from fedbench_core.federation.checks import check
from fedbench_core.federation.options import Options
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import STEPS, RunSpec
from fedbench_core.registry import registry


def resolve(spec: RunSpec) -> ResolvedRun:
    """The parts of `spec`; RequestError for what doesn't exist, is out of range, or doesn't fit together.

    RunError for a topology whose plan can't be carried out.
    """
    run = assemble(spec)
    check(run)
    return run


def assemble(spec: RunSpec) -> ResolvedRun:
    """The parts of `spec`, whether or not they fit together; RequestError for what doesn't exist or is out of range."""
    method = registry().method(spec.method)
    spec = _with_requirements(spec, method)
    options = Options(spec, method)
    names = {part: getattr(spec, part) or getattr(method, part) for part in ("aggregator", "compressor", "topology")}
    parts = {part: options.part(part, name, getattr(method, part)) for part, name in names.items()}
    parts["local_update"] = options.part("local_update", method.local_update, method.local_update)
    parts["partitioner"] = options.part("partitioner", spec.partitioner)
    names["downlink"] = _downlink(spec, method)
    parts["downlink"] = parts["compressor"]
    if names["downlink"] is not None:
        parts["downlink"] = options.part("downlink", names["downlink"], method.downlink)
    parts["dataset"] = _dataset(spec.dataset, options)
    parts["public"] = None if spec.public is None or spec.public_fraction else _dataset(spec.public, options, "public")
    own = _architectures(spec.backbones, spec, options)
    further = _architectures(parts["local_update"].backbones, spec, options)
    options.given.pop("backbone", None)
    by_request = dict(zip(parts["local_update"].backbones, further, strict=True))
    architectures = {a.name: a for a in (*own, *further)} | by_request
    if options.given:
        prefix = next(iter(options.given))
        raise RequestError(f"--set {prefix}.*: this run has no {prefix} of its own. Leave it out.")
    used = to_jsonable_python(dict(sorted(options.used.items())))
    resolved = spec.model_copy(update={**names, "lr": spec.rate, "backbones": tuple(a.name for a in own), "set": used})
    return ResolvedRun(resolved, method, architectures=architectures, **parts)


def _with_requirements(spec: RunSpec, method: Method) -> RunSpec:
    """The spec with the run settings that the method needs; RequestError where it was given others."""
    values = spec.model_dump()
    changed = {name: value for name, value in method.requires.items() if values.get(name) != value}
    if not changed:
        return spec
    implied = {"steps"} if spec.steps == STEPS else set()
    given = {name for name in spec.model_fields_set - implied if values[name] is not None}
    replaced = {"epochs", "steps"} if changed.keys() & {"epochs", "steps"} else set()
    for name in sorted(given & (changed.keys() | replaced)):
        flag = f"--{name.replace('_', '-')}"
        needs = ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in changed.items())
        raise RequestError(f"{spec.method} needs {needs}; got {flag} {values[name]}. Leave {flag} out.")
    budget = dict.fromkeys(replaced)
    return RunSpec.of({**values, **budget, **changed})


def _downlink(spec: RunSpec, method: Method) -> str | None:
    """The server's compressor; where the clients' is replaced, the method's own downlink lapses."""
    swapped = spec.compressor not in (None, method.compressor)
    return spec.downlink or (None if swapped else method.downlink)


def _dataset(request: str, options: Options, prefix: str = "dataset") -> Dataset:
    name, colon, argument = request.partition(":")
    if colon:
        given = options.given.setdefault(prefix, {})
        if given.setdefault("path", argument) != argument:
            raise RequestError(f"--{prefix} {request} and --set {prefix}.path={given['path']} disagree. Give one.")
    part: Dataset = options.part(prefix, name)
    if colon:  # the path is part of the dataset's name
        options.used.pop(f"{prefix}.path", None)
    return part


def _architectures(names: Sequence[str], spec: RunSpec, options: Options) -> list[Architecture]:
    """One architecture per name: a plugin's, or else timm's; the options of prefix `backbone` hold for all."""
    given = {**options.given.get("backbone", {}), **({"pretrained": True} if spec.pretrained else {})}
    found: list[Architecture] = []
    for name in names:
        made, checked = architecture(name, given)
        found.append(made)
        options.used |= {f"backbone.{option}": value for option, value in checked.items() if option != "pretrained"}
    return found
