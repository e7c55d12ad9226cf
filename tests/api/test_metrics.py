import sys
import threading

import pytest

from fedbench_core.api import metrics


@pytest.fixture
def imported(monkeypatch) -> list[tuple[str, bool]]:
    """The modules that are imported in its place, and whether in this thread."""
    names: list[tuple[str, bool]] = []

    def note(name: str) -> None:
        names.append((name, threading.current_thread() is threading.main_thread()))
        raise ImportError(name)

    monkeypatch.setattr(metrics, "import_module", note)
    return names


def _import() -> None:
    metrics.import_in_background()
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        if thread.daemon and thread.name.endswith("(_import)"):
            thread.join()


def test_another_thread_imports_and_leaves_errors_to_the_first_use(imported, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", sys)
    before = sys.getswitchinterval()
    _import()
    assert imported == [("torchmetrics", False)]
    assert sys.getswitchinterval() == before


def test_nothing_is_imported_before_the_modules_that_import_each_other(imported, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    _import()
    assert imported == []
