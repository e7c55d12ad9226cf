import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fedbench_core.federation.executors.fork_server import _uninterrupted


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_a_process_starts_takes_effect_afterwards() -> None:
    done = []

    def start() -> None:
        with _uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_leave_the_signal_alone() -> None:
    found = []

    def start() -> None:
        with _uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


COPY = """
import colorsys, os, signal, sys
from fedbench_core.federation.executors import fork_server

sys.modules[fork_server._IMPORTED] = colorsys  # what workers need takes seconds
fork_server.registry = lambda: PLUGINS
colorsys.marker = "of the first process"
signal.signal(signal.SIGTERM, lambda *_: None)
fork_server.start_server_as_copy()
del colorsys.marker
found = "colorsys.marker == 'of the first process' and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
process = fork_server.start_process(exec, f"import colorsys, signal, sys; sys.exit(7 if {found} else 1)")
process.join()
print(process.exitcode, fork_server.forkserver._forkserver._forkserver_pid, flush=True)
END
"""


@pytest.mark.parametrize("end", ["", pytest.param("os.kill(os.getpid(), signal.SIGKILL)", marks=pytest.mark.slow)])
def test_server_is_a_copy_of_the_process_that_starts_it_and_ends_with_it(end: str) -> None:
    status, server = _started("None", end)
    assert status == 7
    assert _ends(server)


@pytest.mark.slow
def test_server_is_no_copy_where_a_plugin_started_a_thread() -> None:
    """The copy would be without the thread, and might wait for it."""
    thread = "__import__('threading').Thread(target=signal.pause, daemon=True).start()"
    status, server = _started(thread, "")
    assert status == 1
    assert _ends(server)


@pytest.mark.slow
def test_server_is_no_copy_where_a_gpu_was_started() -> None:
    status, server = _started("setattr(fork_server.torch.cuda, '_is_in_bad_fork', lambda: True)", "")
    assert status == 1
    assert _ends(server)


def _started(plugins: str, end: str) -> tuple[int, int]:
    """The status of a worker, 7 in a copy, and the process id of its server."""
    code = COPY.replace("PLUGINS", plugins).replace("END", end)
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=120).stdout
    status, server = map(int, printed.split())
    return status, server


def _ends(pid: int) -> bool:
    """Whether a process ends soon; a zombie has ended."""
    for _ in range(3000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except OSError:
            return True
        time.sleep(0.02)
    return False
