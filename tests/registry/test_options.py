import enum
import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field

from fedbench_core.api import LogUniform, RequestError
from fedbench_core.registry.options import UnreadableError, bind, read_options


class Shade(enum.Enum):
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True)
class Base:
    rate: Annotated[float, Field(gt=0, le=1, description="share that is kept")] = 0.5


@dataclass(frozen=True)
class Part(Base):
    count: Annotated[int, Field(ge=1)] = 3
    feedback: bool = False
    kind: Literal["sum", "mean"] = "mean"
    size: Literal[28, 64] = 28
    limit: Annotated[int, Field(ge=0)] | None = None
    ranks: tuple[int, ...] = field(default_factory=lambda: (4, 2))
    file: Path = Path("x.npz")
    shade: Shade | None = None


OPTIONS = {option.name: option for option in read_options(Part)}


def checked(**given: object) -> dict[str, object]:
    return bind("compressor 'part'", "compressor", tuple(OPTIONS.values()), given)


def test_options_are_read_from_the_signature():
    assert {name: (o.type, o.accepts, o.default) for name, o in OPTIONS.items()} == {
        "rate": ("number", "a number > 0 and <= 1", 0.5),
        "count": ("whole number", "a whole number >= 1", 3),
        "feedback": ("true or false", "true or false", False),
        "kind": ("choice", "one of sum, mean", "mean"),
        "size": ("choice", "one of 28, 64", 28),
        "limit": ("whole number or none", "a whole number >= 0 or none", None),
        "ranks": ("list of whole number", "a list, each a whole number", (4, 2)),
        "file": ("path", "a path", Path("x.npz")),
        "shade": ("choice or none", "one of light, dark or none", None),
    }
    assert OPTIONS["rate"].description == "share that is kept"
    assert not any(option.required for option in OPTIONS.values())


def test_defaults_fill_missing_options():
    assert checked(count=7) == {name: option.default for name, option in OPTIONS.items()} | {"count": 7}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "0.98", 0.98),
        ("rate", "1e-3", 0.001),
        ("count", "12", 12),
        ("count", "1e3", 1000),
        ("kind", "sum", "sum"),
        ("size", "64", 64),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "null", None),
        ("limit", "5", 5),
        ("ranks", "[8, 1]", (8, 1)),
        ("file", "/data/none", Path("/data/none")),
        ("shade", "dark", Shade.DARK),
        ("shade", "none", None),
    ],
)
def test_text_of_the_command_line_is_parsed(name, text, value):
    parsed = checked(**{name: text})[name]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["False", "false", "FALSE", "no", "off", "0", False, 0])
def test_false_is_false(text):
    assert checked(feedback=text)["feedback"] is False


@pytest.mark.parametrize("text", ["True", "true", "yes", "on", "1", True, 1])
def test_true_is_true(text):
    assert checked(feedback=text)["feedback"] is True


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("rate", -1, "a number > 0 and <= 1"),
        ("rate", "0", "a number > 0 and <= 1"),
        ("rate", "nan", "a number > 0 and <= 1"),
        ("rate", math.nan, "a number > 0 and <= 1"),
        ("rate", True, "a number > 0 and <= 1"),
        ("rate", None, "a number > 0 and <= 1"),
        ("rate", "none", "a number > 0 and <= 1"),
        ("rate", "fast", "a number > 0 and <= 1"),
        ("count", 0, "a whole number >= 1"),
        ("count", "2.5", "a whole number >= 1"),
        ("count", "true", "a whole number >= 1"),
        ("feedback", "maybe", "true or false"),
        ("feedback", 2, "true or false"),
        ("kind", "median", "one of sum, mean"),
        ("size", "65", "one of 28, 64"),
        ("limit", -1, "a whole number >= 0 or none"),
        ("ranks", "[1, x]", "a list, each a whole number"),
        ("file", 3, "a path"),
    ],
)
def test_invalid_value_is_refused_with_what_is_accepted(name, value, accepted):
    with pytest.raises(RequestError) as refusal:
        checked(**{name: value})
    assert all(part in str(refusal.value) for part in ("compressor 'part'", f"{name}={value}", accepted))


def test_infinity_is_refused():
    def factory(*, norm: float = 1.0) -> object:
        return norm

    with pytest.raises(RequestError, match="norm=inf"):
        bind("x", "compressor", read_options(factory), {"norm": "inf"})


def test_unknown_option_is_refused_with_close_ones_and_all():
    with pytest.raises(RequestError) as miss:
        checked(cuont=3)
    text = str(miss.value)
    assert all(part in text for part in ("'cuont'", "Did you mean 'count'?", *OPTIONS))


def test_missing_required_option_is_refused_with_its_flag():
    def npz(path: Annotated[Path, Field(description="the file")]) -> object:
        return path

    (option,) = read_options(npz)
    assert option.required
    assert option.default is None
    with pytest.raises(RequestError) as miss:
        bind("dataset 'npz'", "dataset", [option], {})
    expected = ("dataset 'npz'", "'path' (the file)", "a path", "--set dataset.path=VALUE")
    assert all(part in str(miss.value) for part in expected)


def test_message_of_a_plugins_own_validator_is_shown():
    def even(value: int) -> int:
        if value % 2:
            raise ValueError("odd numbers have no half")
        return value

    def factory(*, k: Annotated[int, AfterValidator(even)] = 2) -> object:
        return k

    with pytest.raises(RequestError, match="odd numbers have no half"):
        bind("x", "compressor", read_options(factory), {"k": 3})


class Plain:
    def __init__(self, depth: int = 2) -> None:
        self.depth = depth


class Maker:
    def __call__(self, depth: int = 2) -> object:
        return depth


def _pair(flag: str, depth: int = 2) -> object:
    return flag, depth


@pytest.mark.parametrize("factory", [Plain, Maker(), functools.partial(_pair, "a"), functools.partial(_pair, flag="a")])
def test_signatures_of_classes_callables_and_partials_are_read(factory):
    assert [(option.name, option.default) for option in read_options(factory)] == [("depth", 2)]


def test_factory_without_parameters_has_no_options():
    assert read_options(lambda: None) == ()


def _untyped(alpha=1.0):
    return alpha


def _var(**options: float) -> object:
    return options


def _unresolved(alpha: "Nowhere" = 1) -> object:  # noqa: F821  # the fault under test
    return alpha


def _bad_default(alpha: Annotated[float, Field(gt=0)] = 0) -> object:
    return alpha


def _bad_range(alpha: Annotated[float, Field(gt=0, le=1), LogUniform(0.1, 2)] = 1) -> object:
    return alpha


class Opaque:
    pass


def _unfit_type(alpha: Opaque | None = None) -> object:
    return alpha


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (_untyped, "option 'alpha' has no type annotation"),
        (_var, "options.* cannot be passed by name"),
        (_unresolved, "signature cannot be read: name 'Nowhere'"),
        (_bad_default, "the default of option 'alpha', 0, is not a number > 0"),
        (_bad_range, "the search range of option 'alpha' includes 2, which is not a number > 0 and <= 1"),
        (_unfit_type, "the type of option 'alpha' cannot be checked"),
    ],
)
def test_signature_that_is_not_a_list_of_options_is_refused(factory, why):
    with pytest.raises(UnreadableError, match=why):
        read_options(factory)


def test_search_range_is_declared_beside_the_annotation():
    def factory(alpha: Annotated[float | None, Field(gt=0), LogUniform(0.1, 2)] = None, rank: int = 1) -> object: ...

    assert [option.search for option in read_options(factory)] == [LogUniform(0.1, 2), None]


@given(
    rate=st.floats(0, 1, exclude_min=True),
    count=st.integers(1, 2**53),
    feedback=st.booleans(),
    limit=st.none() | st.integers(0, 2**53),
    ranks=st.lists(st.integers(-(2**53), 2**53)).map(tuple),
)
def test_checked_options_stay_the_same_as_values_and_as_text(**values):
    once = checked(**values)
    assert {name: once[name] for name in values} == values
    assert checked(**once) == once
    as_text = {name: str(list(v) if isinstance(v, tuple) else v) for name, v in values.items()}
    assert checked(**as_text) == once
