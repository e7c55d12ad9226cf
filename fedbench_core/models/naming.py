"""Names of backbones: aliases, patterns and timm ids."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedbench_core.api import RequestError

ALIASES = {"mobilenetv3": "mobilenetv3_small_100"}
"""Short names, with the timm id of each."""
_SHOWN = 10
_REGISTERED = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)", re.MULTILINE)


def names(pattern: str = "") -> list[str]:
    """The timm ids that match `pattern` (with `*`, `?` or `[`), or that contain it, sorted."""
    import timm  # noqa: PLC0415  # takes two seconds to import

    return timm.list_models(pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}*")


def knows(name: str) -> bool:
    """Whether `name` is an alias or a timm id, with or without a tag of pretrained weights."""
    return name in ALIASES or name.partition(".")[0] in _known()


@cache
def _known() -> frozenset[str]:
    """The names without tags, read from timm's source: importing timm takes two seconds."""
    found = _declared()
    return found or frozenset(names())


def _declared() -> frozenset[str]:
    """The names of the functions that timm registers as models; empty if its source has another form."""
    timm = find_spec("timm")
    folders = (timm and timm.submodule_search_locations) or []
    files = (file for folder in folders for file in (Path(folder) / "models").rglob("*.py"))
    return frozenset(name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8")))


def resolve(name: str) -> str:
    """The timm id of `name`, with its tag if it has one; RequestError with close matches for an unknown name."""
    exact = ALIASES.get(name, name)
    base, _, tag = exact.partition(".")
    known = _known()
    if base not in known and base not in names(base):
        raise _unknown_name(name, known)
    if tag and exact not in (tagged := _tagged(base)):
        raise RequestError(
            f"timm has no weights {tag!r} of {base}. Available: {', '.join(tagged) or 'none'}. "
            f"Use {base} to train from random weights."
        )
    return exact


def _tagged(base: str) -> list[str]:
    import timm  # noqa: PLC0415  # takes two seconds to import

    return timm.list_models(f"{base}.*", pretrained=True)


def with_weights(name: str) -> str:
    """The id of the pretrained weights of `name`, the default ones unless it has a tag; RequestError if none."""
    import timm  # noqa: PLC0415  # takes two seconds to import

    default: Any = timm.get_pretrained_cfg(name)
    exact = name if "." in name else f"{name}.{default.tag}"
    if exact not in timm.list_models(pretrained=True):
        raise RequestError(f"timm has no pretrained weights of {name}. Leave out --pretrained.")
    return exact


def _unknown_name(name: str, known: Iterable[str]) -> RequestError:
    matches = names(name)
    if matches:
        more = f" and {len(matches) - _SHOWN} more" if len(matches) > _SHOWN else ""
        guess = f"It matches {', '.join(matches[:_SHOWN])}{more}: choose one."
    else:
        close = get_close_matches(name.lower(), [*known, *ALIASES], n=3)
        guess = f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    family = re.match(r"[a-z]*", name.lower())
    search = f"List timm's backbones: fedbench list backbones '{family.group() if family else ''}*'."
    return RequestError(f"No backbone named {name!r}. {guess}{guess and ' '}{search}")
