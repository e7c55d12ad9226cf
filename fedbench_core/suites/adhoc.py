"""Suites that are made from a command line, and suite files that are written from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w
from pydantic import ValidationError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.federation.spec import RunSpec
from fedbench_core.registry import registry
from fedbench_core.suites.suite import METRICS, Suite
from fedbench_core.suites.tables import AXES


def baseline_of(method: str) -> str:
    """The kind of baseline that the runs of a method are; "" for none, and for a method that is not installed."""
    return registry().method(method).baseline if method in registry().names("method") else ""


def adhoc_suite(
    name: str, methods: Sequence[str], seeds: Sequence[int], settings: Mapping[str, Any], metric: str | None
) -> Suite:
    """The suite that compares `methods` with the same settings; RequestError for a repeated method or unknown metric.

    settings: as for `RunSpec.of`, without method and seed; metric: None for that which suits the dataset.
    """
    if metric is not None and metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if repeated := [method for method in methods if methods.count(method) > 1]:
        raise RequestError(f"{repeated[0]} is given twice. Give every method once.")
    spec = RunSpec.of({**settings, "method": methods[0]})
    values = spec.model_dump(mode="json")
    shared = {key: values[key] for key in settings if key not in AXES}
    try:
        return Suite(
            name=name,
            question=f"How do {', '.join(methods)} compare?",
            metric=metric,
            seeds=tuple(seeds),
            datasets=(spec.dataset,),
            backbones=(",".join(spec.backbones),),
            settings=shared,
            partitions=[{"name": spec.partitioner}],  # type: ignore[arg-type]  # pydantic makes the model
            entries=[{"method": method} for method in methods],  # type: ignore[arg-type]  # as above
            baselines={kind: method for method in methods if (kind := baseline_of(method))},  # type: ignore[arg-type]  # as above
        )
    except ValidationError as error:
        raise RequestError("; ".join(problem["msg"] for problem in error.errors())) from None


def suite_text(suite: Suite) -> str:
    """The suite as TOML, as `read_suite` reads it."""
    values = suite.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"partitions", "entries"})
    rows = {
        kind: [{"name": row.name, **row.settings} for row in getattr(suite, kind)] for kind in ("partitions", "entries")
    }
    return tomli_w.dumps({**values, **rows})
