"""The settings that tuning chose for the entries of a suite: NAME.tuned.json beside NAME.toml, with all trials."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fedbench_core.api.errors import DataError, RequestError
from fedbench_core.api.limits import read_text
from fedbench_core.federation.files import replace_file

SUFFIX = ".tuned.json"
TRIALS = "trials"
"""The folder of the records of trials, in that of the suite's records."""
LR = "lr"
"""The run setting that is tuned for every entry."""
PARTS = ("local_update", "aggregator", "compressor", "downlink", "topology")
"""The parts whose options are tuned."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Trial(_Strict):
    """Settings that were tried, by name (`lr`, `local_update.mu`), none for the default; and how they did.

    score: mean over the tuning seeds of the suite's metric on validation images; None if a run failed, for `reason`.
    """

    settings: dict[str, Any]
    score: float | None
    reason: str = ""


class Choice(_Strict):
    """The trials of an entry for a dataset, a partition and backbones, and the number of the best one.

    of: digest of what was tuned; edges: the chosen values, also of the default, that lie at the edge of their range;
    fixed: settings that the entry sets itself, which are not tuned; gflops, bytes_sent: what the trials cost together.
    """

    entry: str
    dataset: str
    partition: str
    backbones: str
    of: str
    chosen: Annotated[int, Field(ge=0)]
    trials: tuple[Trial, ...]
    edges: dict[str, Any]
    fixed: tuple[str, ...]
    gflops: float
    bytes_sent: int

    @model_validator(mode="after")
    def _check_chosen(self) -> "Choice":
        if self.chosen >= len(self.trials):
            raise PydanticCustomError("chosen", "expected the number of a trial")
        return self

    def fault(self, trials: int, *, more_is_better: bool) -> str:
        """How the choice contradicts equal tuning with so many trials; "" if it doesn't."""
        if len(self.trials) != trials:
            return f"has {len(self.trials)} trials; expected {trials}"
        if self.trials[0].settings:
            return "does not have the default settings as its first trial"
        others = [name for trial in self.trials for name in trial.settings if not _is_tuned(name)]
        if others:
            return f"tries {others[0]}, which is not tuned"
        scores = [trial.score for trial in self.trials if trial.score is not None]
        best = (max if more_is_better else min)(scores, default=None)
        if best is None or self.chosen != [trial.score for trial in self.trials].index(best):
            return f"has trial {self.chosen} as the best, but its score is {self.best.score}; the best is {best}"
        return ""

    @property
    def case(self) -> tuple[str, str, str, str]:
        """Entry, dataset, partition and backbones."""
        return self.entry, self.dataset, self.partition, self.backbones

    @property
    def best(self) -> Trial:
        """The trial that was chosen."""
        return self.trials[self.chosen]

    @property
    def failed(self) -> int:
        """The number of trials without a score."""
        return sum(trial.score is None for trial in self.trials)


def _is_tuned(name: str) -> bool:
    return name == LR or name.partition(".")[0] in PARTS


class Choices(_Strict):
    """The choices for a suite."""

    suite: str
    choices: tuple[Choice, ...]

    @property
    def by_case(self) -> Mapping[tuple[str, str, str, str], Choice]:
        """The choices by entry, dataset, partition and backbones."""
        return {choice.case: choice for choice in self.choices}


def choices_file(suite: Path) -> Path:
    """The file of the choices for a suite file."""
    return suite.with_name(suite.stem + SUFFIX)


def suite_of(choices: Path) -> Path:
    """The suite file of a file of choices."""
    return choices.with_name(choices.name.removesuffix(SUFFIX) + ".toml")


def read_choices(path: Path) -> Choices:
    """The choices in a file, none if it doesn't exist; RequestError if they can't be read."""
    if not path.exists():
        return Choices(suite="", choices=())
    try:
        return Choices.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, DataError) as error:
        reason = str(error)
    raise RequestError(f"{path} holds no choices of `fedbench suite tune`: {reason}. Restore it, or remove it.")


def write_choices(path: Path, choices: Choices) -> None:
    """Write the file, with a line for each choice, under its name only when it is complete."""
    lines = ",\n".join(json.dumps(choice.model_dump(mode="json"), sort_keys=True) for choice in choices.choices)
    text = f'{{"suite": {json.dumps(choices.suite)}, "choices": [\n{lines}\n]}}\n'
    replace_file(path, text.encode(), durable=True)


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name as a suite file has them: options of parts are under `set`."""
    plain = {name: value for name, value in settings.items() if "." not in name}
    options = {name: value for name, value in settings.items() if "." in name}
    return {**plain, **({"set": options} if options else {})}
