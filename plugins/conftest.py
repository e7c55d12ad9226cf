"""What the plugins' own tests share."""  # noqa: INP001  # a folder of distributions, and no package

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As in the core's tests: threads of processes side by side wait for each other."""
    torch.set_num_threads(1)


SLOW = {
    "test_learns",
    "test_depends_on_nothing_outside",
    "test_one_client_alone",
    "test_order_of_clients_is_irrelevant",
    "test_record_counts_its_messages",
    "test_recorded_bytes_are_the_blobs",
    "test_mixed_backbones_exactly_where_declared",
    "test_absence_exactly_where_declared",
    "test_published_payload_changes",
}
"""Cases that take seconds for each of many methods: `-m slow`, or `fedbench plugin check NAME`."""


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave some cases of the contract suites to the slow tests."""
    here = Path(__file__).parent
    for item in items:
        if getattr(item, "originalname", "") in SLOW and here in item.path.parents:
            item.add_marker("slow")
