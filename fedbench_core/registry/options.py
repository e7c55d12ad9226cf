"""Options of a part: read from the signature of its factory, and values checked against them."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.limits import parse_json
from fedbench_core.api.search import SearchRange, range_in
from fedbench_core.registry.schema_text import description, range_text, type_text

# Options are stored in records, and JSON has no infinity or NaN.
_CONFIG = ConfigDict(allow_inf_nan=False)
_PLUGIN_ERRORS = {"value_error", "assertion_error", "predicate_failed"}


class UnreadableError(Exception):
    """The signature of a factory can't be read as a list of options; the message gives the reason."""


@dataclass(frozen=True)
class Option:
    """An option of a part. type and accepts are readable text; default is None if the option is required.

    search: the values that tuning tries; None if the option is not tuned.
    """

    name: str
    type: str
    accepts: str
    default: object
    required: bool
    description: str
    adapter: TypeAdapter[Any] = field(repr=False, compare=False)
    search: SearchRange | None = None

    def parse(self, value: object) -> object:
        """`value` converted to the option's type, parsed if it is text; ValueError if it is not accepted."""
        if isinstance(value, str) and value.lower() in {"none", "null"} and self._accepts_none():
            return None
        try:
            return self._validate(value)
        except ValueError:
            if not isinstance(value, str):
                raise
            return self._parse_json(value)

    def _parse_json(self, text: str) -> object:
        try:
            value = parse_json(text)
        except ValueError:
            value = text
        return self._validate(value)

    def _validate(self, value: object) -> object:
        parsed = self.adapter.validate_python(value)
        if isinstance(value, bool) and not isinstance(parsed, bool):  # pydantic accepts true as the number 1
            raise ValueError(f"{value} is not a {self.type}")  # noqa: TRY004  # as pydantic: callers catch one type
        return parsed

    def _accepts_none(self) -> bool:
        try:
            return self.adapter.validate_python(None) is None
        except ValidationError:
            return False


def read_options(factory: Callable[..., object]) -> tuple[Option, ...]:
    """The options of `factory`, in the order of its signature; UnreadableError names a parameter that can't be one.

    Arguments that `functools.partial` binds by name are not options.
    """
    try:
        parameters = inspect.signature(factory).parameters.values()
        hints = _hints(factory)
    except Exception as error:  # annotations are code of the plugin and may raise anything
        raise UnreadableError(f"its signature cannot be read: {error}") from error
    bound = factory.keywords if isinstance(factory, functools.partial) else {}
    return tuple(_read_option(factory, parameter, hints) for parameter in parameters if parameter.name not in bound)


def bind(label: str, prefix: str, options: Sequence[Option], given: Mapping[str, object]) -> dict[str, object]:
    """Every option with its parsed or default value; RequestError for an unknown, invalid or missing option.

    label: what has these options, for error messages; prefix: as in `--set prefix.option=value`.
    """
    _refuse_unknown(label, options, given)
    return {option.name: _value(label, prefix, option, given) for option in options}


def _refuse_unknown(label: str, options: Iterable[Option], given: Iterable[str]) -> None:
    names = [option.name for option in options]
    for name in given:
        if name not in names:
            raise unknown(f"option of {label}", name, names)


def _value(label: str, prefix: str, option: Option, given: Mapping[str, object]) -> object:
    if option.name in given:
        return _parsed(label, option, given[option.name])
    if not option.required:
        return option.default
    meaning = f" ({option.description})" if option.description else ""
    raise RequestError(
        f"{label} needs its option {option.name!r}{meaning}: {option.accepts}. "
        f"Give it as --set {prefix}.{option.name}=VALUE."
    )


def _parsed(label: str, option: Option, value: object) -> object:
    try:
        return option.parse(value)
    except ValueError as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f" ({first['msg']})" if first and first["type"] in _PLUGIN_ERRORS else ""
        raise RequestError(
            f"{label} does not accept {option.name}={_shown(value)}{reason}: {option.name} must be {option.accepts}."
        ) from error


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else repr(text)


def _hints(factory: Callable[..., object]) -> dict[str, Any]:
    if isinstance(factory, functools.partial):
        return _hints(factory.func)
    if dataclasses.is_dataclass(factory) or inspect.isroutine(factory):
        return typing.get_type_hints(factory, include_extras=True)
    if isinstance(factory, type):
        return typing.get_type_hints(factory.__init__, include_extras=True)  # type: ignore[misc]  # only read
    return typing.get_type_hints(type(factory).__call__, include_extras=True)


def _read_option(factory: Callable[..., object], parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Option:
    name = parameter.name
    if isinstance(factory, type) and "__init__" not in vars(factory) and not dataclasses.is_dataclass(factory):
        raise UnreadableError(f"{factory.__name__} is not a dataclass: decorate it with @dataclass(frozen=True)")
    if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
        raise UnreadableError(f"{parameter} cannot be passed by name; an option needs a name")
    if name not in hints:
        raise UnreadableError(f"option {name!r} has no type annotation")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name], config=_CONFIG)
        schema = adapter.json_schema()
        texts = type_text(schema), range_text(schema)
    except Exception as error:  # pydantic raises many types, and annotations are code of the plugin
        raise UnreadableError(f"the type of option {name!r} cannot be checked: {error}") from error
    required = parameter.default is parameter.empty
    search = range_in(getattr(hints[name], "__metadata__", ()))
    option = Option(name, *texts, None, required, description(schema), adapter, search)
    _check_search(option)
    return option if required else dataclasses.replace(option, default=_default(factory, parameter, option))


def _check_search(option: Option) -> None:
    for value in option.search.limits if option.search else ():
        try:
            option.parse(value)
        except ValueError as error:
            raise UnreadableError(
                f"the search range of option {option.name!r} includes {value!r}, which is not {option.accepts}"
            ) from error


def _default(factory: Callable[..., object], parameter: inspect.Parameter, option: Option) -> object:
    value = parameter.default
    if dataclasses.is_dataclass(factory):
        default_factory = {f.name: f.default_factory for f in dataclasses.fields(factory)}[option.name]
        value = value if default_factory is dataclasses.MISSING else default_factory()
    try:
        return option.parse(value)
    except ValueError as error:
        raise UnreadableError(f"the default of option {option.name!r}, {value!r}, is not {option.accepts}") from error
