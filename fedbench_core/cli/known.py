"""The names that plugins register, remembered between commands: importing all plugins and torch takes seconds.

They are stored in the cache folder with a digest of every plugin's version and files, and forgotten when one changes.
Nothing is stored while a plugin has a problem, whose cause may be elsewhere.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import FedbenchError, unknown
from fedbench_core.api.folders import cached, default_cache, read_cached
from fedbench_core.cli.entries import Entry
from fedbench_core.registry.names import matching, spaced
from fedbench_core.registry.trial import key_of_plugins

_PARTS = {
    **{kind: kind for kind in ("method", "dataset", "partitioner", "aggregator", "compressor", "topology", "tracker")},
    "downlink": "compressor",
}
"""Settings that name a part, with its kind."""

Known = Mapping[str, list[Entry]]


def known() -> Known | None:
    """The entries of `fedbench list` by kind, but for backbones; None if they are not known without the plugins."""
    content = read_cached(_path())
    if content is None:
        return None
    stored = json.loads(content)
    found: Known = stored["entries"]
    return found if stored["key"] == key_of_plugins() else None


def known_entries(kind: str, pattern: str) -> list[Entry] | None:
    """The known entries of a kind that match; None if they are not known, or if timm has more of them.

    RequestError with close matches if none does.
    """
    found = known()
    if found is None or kind == "backbone":
        return None
    by_name = {str(entry["name"]): entry for entry in found[kind]}
    entries = [by_name[name] for name in matching(by_name, pattern)]
    if pattern and not entries:
        raise unknown(spaced(kind), pattern, by_name)
    return entries


def remember() -> None:
    """Store the names for the next command, if this one has loaded the plugins and none has a problem."""
    catalog = sys.modules.get("fedbench_core.registry.catalog")  # importing it here would import torch
    if catalog is None or not catalog.registry.cache_info().currsize or catalog.registry().warning():
        return
    key = key_of_plugins()
    if key and known() is None:
        from fedbench_core.cli.catalog import registered  # noqa: PLC0415  # as above
        from fedbench_core.federation.files import replace_file  # noqa: PLC0415  # not for --help

        with suppress(OSError, FedbenchError):  # then the next command loads the plugins, too
            _path().parent.mkdir(parents=True, exist_ok=True)
            replace_file(_path(), cached(json.dumps({"key": key, "entries": registered()}).encode()))


def check_names(settings: Mapping[str, Any]) -> None:
    """RequestError for a method or part that is known not to exist, before anything slow is imported."""
    found = known()
    if found is None:
        return
    for setting, kind in _PARTS.items():
        name, names = settings.get(setting), [str(entry["name"]) for entry in found[kind]]
        if isinstance(name, str) and name.partition(":")[0] not in names:
            raise unknown(spaced(kind), name.partition(":")[0], names)


def _path() -> Path:
    """One file for each environment."""
    return default_cache() / "names" / f"{hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]}.json"
