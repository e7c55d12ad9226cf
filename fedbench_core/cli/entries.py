"""The fields of an entry that `list`, `show` and `reference` print, and how they write an option."""

from typing import Any

Entry = dict[str, Any]

METHOD_FIELDS = (
    *("paper", "fidelity", "data", "mixed_backbones", "partial_participation", "uses_public", "requires", "pinned"),
    "control",
)
"""The fields of a method besides its parts."""
EMPTY: tuple[object, ...] = ("", (), {})
"""Values of a method's field that are not shown."""
OPTION_COLUMNS = ("option", "default", "accepts", "meaning")


def option_row(option: Entry) -> tuple[str, str, str, str]:
    """An option of a part, in the order of `OPTION_COLUMNS`."""
    default = "required" if option["required"] else option_text(option["default"])
    return option["name"], default, accepts(option), option["description"]


def accepts(option: Entry) -> str:
    """The values that an option accepts, and those that tuning tries."""
    return f"{option['accepts']}; tuned: {option['search']}" if option["search"] else str(option["accepts"])


def option_text(value: object) -> str:
    """The value of an option as `--set` accepts it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(getattr(value, "value", value))
