"""Time to read, rank and render many records: seconds and CPU seconds of each part, with an optional profile.

    python -m tests.benchmarks.leaderboard [--records 10000] [--profile]

The records are copies of one run on the phantom, with other scores for each grid point of a suite of ten entries,
twelve seeds and enough datasets. Figures are not drawn. The first measurement starts with an empty cache folder, so
every record is checked; the others know which files have passed. Other load on the machine lengthens CPU seconds, too.
"""

import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import click

from fedbench_core import RunSpec, run
from fedbench_core.runner import How
from tests.suite_folder import BASELINES, ENTRIES, SuiteFolder

MODULE = "tests.benchmarks.leaderboard"
SEEDS = 12
MORE = [{"name": f"fedavg, lr {lr}", "method": "fedavg", "lr": lr} for lr in (0.01, 0.03, 0.1, 0.3, 1.0)]
ENTRY_NAMES = [entry["name"] for entry in (*ENTRIES, *MORE)]


def make(folder: Path, records: int) -> int:
    """Fill a suite with at least `records` records; gives their number."""
    spec = RunSpec.of({"method": "local", "backbones": "test_resnet", "clients": 3, "rounds": 2, "steps": 2})
    suite_folder = SuiteFolder(folder / "leaderboards", run(spec, How(out=folder / "runs", executor="serial")).record)
    datasets = [f"npz:{number}.npz" for number in range(-(-records // (len(ENTRY_NAMES) * SEEDS)))]
    file = suite_folder.suite(
        entries=[*ENTRIES, *MORE], baselines=BASELINES, seeds=SEEDS, datasets=datasets, backbones=["test_resnet"]
    )
    return len(suite_folder.fill(file, lambda point: 100 + 20 * ENTRY_NAMES.index(point.entry) + 7 * point.seed % 13))


def measure(file: Path) -> str:
    """Seconds to import, to read and rank, and to render, as text."""
    clock = [_now()]
    from fedbench_core.leaderboard.markdown import page  # noqa: PLC0415  # its import is measured
    from fedbench_core.leaderboard.pages import read_leaderboard  # noqa: PLC0415  # as above

    clock.append(_now())
    leaderboard = read_leaderboard(file)
    clock.append(_now())
    text = page(leaderboard)
    clock.append(_now())
    names = ("import", "read and rank", "render")
    spent = {
        name: f"{b[0] - a[0]:.2f} ({b[1] - a[1]:.2f})" for name, (a, b) in zip(names, pairwise(clock), strict=True)
    }
    whole = [end - start for start, end in zip(clock[0], clock[-1], strict=True)]
    return f"{spent}, all {whole[0]:.2f} s ({whole[1]:.2f} s of CPU), {len(text)} characters"


def _now() -> tuple[float, float]:
    """Wall time and CPU time of this process in seconds; other processes hardly affect the second."""
    return time.perf_counter(), time.process_time()


@click.command()
@click.option("--records", default=10_000)
@click.option("--profile", is_flag=True)
@click.option("--file", type=click.Path(path_type=Path), help="only measure this suite")
def main(records: int, profile: bool, file: Path | None) -> None:
    """Make the records, then measure in a new process, as a command would."""
    if file is not None:
        with cProfile.Profile() as watch:
            measure(file)
        pstats.Stats(watch).sort_stats("tottime").print_stats(20)
        return
    with tempfile.TemporaryDirectory() as scratch:
        made = make(Path(scratch), records)
        suite = Path(scratch) / "leaderboards" / "suites" / "small.toml"
        program = f"from pathlib import Path\nfrom {MODULE} import measure\nprint(measure(Path({str(suite)!r})))"
        env = {**os.environ, "FEDBENCH_CACHE": str(Path(scratch) / "cache")}
        for which in ("first", "again", "again"):
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
            click.echo(f"{made} records, {which}: {done.stdout.strip()}")
        if profile:
            subprocess.run([sys.executable, "-m", MODULE, "--file", str(suite)], check=True, env=env)


if __name__ == "__main__":
    main()
