"""The control of a run: the same without the idea that its method claims."""

import pytest

from fedbench_core.api import Control, RequestError
from fedbench_core.federation.assembly import assemble, resolve
from fedbench_core.federation.controls import control_of


def test_control_of_another_method_has_the_settings_of_the_run(spec) -> None:
    run = assemble(spec("fedprox", lr=0.3, **{"local_update.mu": 0.5, "partitioner.alpha": 2.0}))
    assert control_of(run) == resolve(spec("fedavg", lr=0.3, **{"partitioner.alpha": 2.0})).spec


def test_control_of_the_same_method_has_its_other_options(spec) -> None:
    ours = {"local_update.merge": "average", "local_update.warmup": 1}
    run = assemble(spec("fedskd", **ours))
    assert control_of(run) == resolve(spec("fedskd", **ours, **{"local_update.distil": "none"})).spec


def test_control_of_a_method_with_requirements_has_them(spec) -> None:
    control = control_of(assemble(spec("scaffold")))
    assert control is not None
    assert (control.method, control.optimizer, control.momentum) == ("fedavg", "sgd", 0.0)
    resolve(control)


@pytest.mark.parametrize(("method", "options"), [("fedavg", {}), ("moon", {"local_update.mu": 0.0})])
def test_run_without_an_idea_has_no_control(method, options, spec) -> None:
    assert control_of(assemble(spec(method, **options))) is None


def test_control_that_is_not_installed_is_an_error(spec, monkeypatch) -> None:
    run = assemble(spec("fedprox"))
    object.__setattr__(run.method, "control", Control("fedsomething"))
    monkeypatch.undo()
    try:
        with pytest.raises(RequestError, match="fedsomething"):
            control_of(run)
    finally:
        object.__setattr__(run.method, "control", Control("fedavg"))


def test_control_in_words() -> None:
    assert str(Control("fedskd", {"local_update.distil": "none"})) == "fedskd with local_update.distil = none"
    assert str(Control("local")) == "local"
