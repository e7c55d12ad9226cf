"""`fedbench plugin check [NAME]`."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.cli.flags import read_option
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table
from fedbench_core.federation.spec import RunSpec

if TYPE_CHECKING:
    from fedbench_core.testing.check import Checked

_COLUMNS = ("part", "name", "plugin", "run", "passed", "failed", "skipped")
_SET = "set an option of the tested part; repeatable"
_RUN = "a setting of the runs that test a method, as for `fedbench run`, such as lr=0.05; repeatable"


@click.command("check")
@click.argument("name", default="")
@click.option("--set", "options", multiple=True, metavar="PART.OPTION=VALUE", help=_SET)
@click.option("--run", "settings", multiple=True, metavar="SETTING=VALUE", help=_RUN)
@click.option("--timeout", type=click.IntRange(min=1), default=300, help="seconds per test case  [default: 300]")
@json_option
def command(name: str, options: tuple[str, ...], settings: tuple[str, ...], timeout: int, as_json: bool) -> None:
    """Run the contract tests on installed parts.

    NAME is a part, a method or a distribution; without it, the parts of all plugins are tested, except those of the
    core. The exit status is 1 if a case fails.
    """
    if find_spec("pytest") is None:
        raise RequestError("The contract tests need pytest, which is not installed: pip install pytest")
    from fedbench_core.testing.check import check  # noqa: PLC0415  # imports torch: slow, and --help does not need it

    parts = check(name, _by_kind(options), _print_progress, timeout, settings=_settings(settings))
    if as_json:
        print_json([_counts(part) | {"cases": [asdict(case) for case in part.cases]} for part in parts])
    else:
        _print(parts)
    failed = sum(part.count("failed") for part in parts)
    if failed:
        raise RunError(f"{failed} of {sum(_run(part) for part in parts)} cases failed.")


def _settings(texts: Iterable[str]) -> dict[str, str]:
    """Run settings; RequestError for another form, an unknown name, or a value out of range."""
    given = [text.partition("=") for text in texts]
    for name, equals, _ in given:
        if not (name and equals):
            raise RequestError(f"--run {name}{equals}: expected SETTING=VALUE, such as lr=0.05.")
    settings = {name.replace("-", "_"): value for name, _, value in given}
    RunSpec.of({"method": "any", **settings})
    return settings


def _by_kind(options: Iterable[str]) -> dict[str, dict[str, object]]:
    """Options by kind, as the contract suites take them: `rank` for a part, `compressor.rank` for a method."""
    whole = dict(map(read_option, options))
    given: dict[str, dict[str, object]] = {"method": dict(whole)} if whole else {}
    for key, value in whole.items():
        kind, _, option = key.partition(".")
        given.setdefault(kind, {})[option] = value
    return given


def _print_progress(part: "Checked") -> None:
    """Print a line when a part is done; some parts take a minute."""
    echo(f"{_words(part)}: {', '.join(_tally(part))}", err=True)


def _tally(part: "Checked") -> Iterator[str]:
    for outcome in ("passed", "failed", "skipped"):
        if part.count(outcome):
            yield f"{part.count(outcome)} {outcome}"


def _print(parts: "list[Checked]") -> None:
    print_table(_COLUMNS, [list(_counts(part).values()) for part in parts])
    for outcome in ("failed", "skipped"):
        for part in parts:
            for message, tests in _reasons(part, outcome).items():
                more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
                print_sentence(f"\n{outcome}: {_words(part)}, {tests[0]}{more}: {message}")


def _reasons(part: "Checked", outcome: str) -> dict[str, list[str]]:
    """The cases with an outcome, by their message."""
    reasons: dict[str, list[str]] = {}
    for case in part.cases:
        if case.outcome == outcome:
            reasons.setdefault(case.message, []).append(case.test)
    return reasons


def _counts(part: "Checked") -> dict[str, Any]:
    counts = (_run(part), part.count("passed"), part.count("failed"), part.count("skipped"))
    return dict(zip(_COLUMNS, (part.kind.replace("_", " "), part.name, part.distribution, *counts), strict=True))


def _run(part: "Checked") -> int:
    return part.count("passed") + part.count("failed")


def _words(part: "Checked") -> str:
    return f"{part.kind.replace('_', ' ')} {part.name}"
