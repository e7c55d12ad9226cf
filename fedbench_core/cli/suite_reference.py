"""Every key of a suite file as a Markdown page, made from the models that read it."""

from collections.abc import Iterable, Iterator
from typing import Any

from fedbench_core.federation.spec import RunSpec
from fedbench_core.suites.suite import Suite
from fedbench_core.suites.tables import AXES, Baselines, Tuning

_HEAD = """# Suite files

Every key of a suite file. `fedbench reference suites` generates this page from the code.

```toml
name = "mine" # the file is mine.toml
question = "Is one model for all hospitals better than one for each?"
seeds = 3
datasets = ["phantom"]
backbones = ["resnet18"]

[settings]
rounds = 4

[[partitions]]
name = "Dirichlet 0.3"
partitioner = "dirichlet"
set = {"partitioner.alpha" = 0.3}

[[entries]]
method = "local"

[[entries]]
method = "centralized"

[baselines]
steps = "local"
centralized = "centralized"
```

Every entry is run on every dataset, partition and list of backbones, with every seed. `fedbench suite run mine.toml`
computes the runs that have no record yet; `fedbench leaderboard mine.toml` compares the entries.
"""
_SETTINGS = (
    "The settings of `fedbench run`, with `_` for `-`. They stand under `[settings]`, and in an entry or a partition, "
    f"where they override those of the suite. {', '.join(AXES)} are lists of the suite; an entry may set its own "
    "`backbones`. `public` is the same for all entries."
)
_ROWS = (
    "`[[entries]]` and `[[partitions]]` are tables with a `name` and settings. The name of an entry is that of its "
    "`method` if it has none; a partition is named after its `partitioner` and options."
)
_TUNING = (
    "With `[tuning]`, `fedbench suite tune FILE` gives every entry the same number of trials: its own settings, and "
    "others drawn from the search ranges of the learning rate and of the options for which `fedbench show` names one. "
    "The trial with the best score on validation images is chosen; `suite run` then runs each entry with its own and "
    "with the chosen settings. The range of the learning rate fits Adam and SGD, so that a suite with one of them may "
    "narrow it in `ranges`. What an entry sets itself is not tuned, and such an entry is marked. Budgets, "
    "architectures and other structure are never tuned."
)


def suite_reference() -> Iterator[str]:
    """The lines of the page."""
    yield _HEAD
    yield from ("## Keys", "", *_table(Suite.model_fields), "")
    yield from ("## Entries and partitions", "", _ROWS, "")
    yield from ("## `[baselines]`", "", *_table(Baselines.model_fields), "")
    yield from ("## `[tuning]`", "", _TUNING, "", *_table(Tuning.model_fields), "")
    yield from ("## Settings", "", _SETTINGS, "", *_table(RunSpec.model_fields, without=("dataset", "seed")))


def _table(fields: dict[str, Any], without: Iterable[str] = ()) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|:--|:--|:--|"
    for name, field in fields.items():
        if name not in without:
            yield f"| `{name}` | {_default(field)} | {field.description.replace('|', chr(92) + '|')} |"


def _default(field: Any) -> str:
    if field.is_required():
        return "*required*"
    default = field.get_default(call_default_factory=True)
    values = default if isinstance(default, tuple) else (default,)
    plain = all(isinstance(value, str | int | float) for value in values)
    return f"`{', '.join(map(str, values))}`" if plain and values else ""
