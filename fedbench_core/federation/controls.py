"""The control of a run: the same without the idea that its method claims."""

from fedbench_core.federation.assembly import assemble
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import RunSpec

_PARTS = ("aggregator", "compressor", "downlink", "topology")


def control_of(run: ResolvedRun) -> RunSpec | None:
    """The resolved spec of a run's control; None if its method declares none, or if the run is its own control.

    Options of the run stay, also those of its parts if the control is of the same method. RequestError if the control
    needs something that is not installed, or that the run's settings exclude.
    """
    spec, control = run.spec, run.method.control
    if control is None:
        return None
    values, kept = spec.model_dump(), spec.set
    if control.method != spec.method:
        values |= dict.fromkeys(_PARTS)
        kept = {name: kept[name] for name in kept if name.partition(".")[0] not in ("local_update", *_PARTS)}
    found = assemble(RunSpec.of({**values, "method": control.method, "set": {**kept, **control.options}})).spec
    return None if found.digest == spec.digest else found
