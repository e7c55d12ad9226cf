"""What the tests of the contract suites share."""

from collections.abc import Callable

import pytest

from fedbench_core.testing.contract import PartContract


@pytest.fixture
def assert_caught() -> Callable[..., None]:
    """Run one case of a suite on a faulty part: `assert_caught(Contract, Faulty, "test_case", *args, says=...)`."""

    def check(contract: type[PartContract], faulty: type, case: str, *arguments: object, says: str) -> None:
        suite = type("Suite", (contract,), {"name": "faulty", "make": lambda _self: faulty()})()
        with pytest.raises((AssertionError, pytest.fail.Exception), match=says):
            getattr(suite, case)(faulty(), *arguments)

    return check
