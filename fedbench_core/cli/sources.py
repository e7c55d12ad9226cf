"""The public names of a package, read from its source without importing it: order, signatures and docstrings."""

import re
from collections.abc import Collection, Iterator
from functools import cache

import griffe

Item = griffe.Module | griffe.Class | griffe.Function | griffe.Attribute
_ELLIPSIS_BODY = re.compile(r"\n\s*\.\.\.\s*$")


def load(module: str) -> griffe.Module:
    """A module or package by its dotted name; ModuleNotFoundError if there is none."""
    package, _, rest = module.partition(".")
    found = _package(package)
    for name in rest.split(".") if rest else ():
        if name not in found.modules:
            raise ModuleNotFoundError(module)
        found = found.modules[name]
    return found


@cache  # griffe always reads the whole package, which takes a second
def _package(name: str) -> griffe.Module:
    found = griffe.load(name, allow_inspection=False)
    if not isinstance(found, griffe.Module):
        raise ModuleNotFoundError(name)
    return found


def exported(package: str) -> dict[str, list[str]]:
    """The names that a package imports from its own modules, by module."""
    found: dict[str, list[str]] = {}
    for path in load(package).imports.values():
        module, _, name = path.rpartition(".")
        if module.startswith(f"{package}."):
            found.setdefault(module, []).append(name)
    return found


def unexported(package: str) -> list[str]:
    """The public modules of a package from which it imports nothing: users import the whole module."""
    modules = load(package).modules.values()
    return [module.path for module in modules if _is_public(module.name) and module.path not in exported(package)]


def members(item: Item, names: Collection[str] | None = None) -> Iterator[Item]:
    """The public members of a module or class in source order; only those in `names` if given."""
    for name, member in item.members.items():
        if isinstance(member, Item) and (_is_public(name) if names is None else name in names):
            yield member


def doc(item: Item) -> str:
    """The docstring of a module, class or function, or the string below an attribute."""
    return item.docstring.value if item.docstring else ""


def code(item: Item) -> str:
    """The signature of a function, a class with its bases, or an attribute with its type and value."""
    if isinstance(item, griffe.Class):
        bases = ", ".join(base for base in map(str, item.bases) if base != "Protocol")
        return f"{item.name}({bases})" if bases else item.name
    text = item.signature() if isinstance(item, griffe.Function) else _attribute(item)
    return _without_receiver(item, text).replace("'", '"')


def is_required(item: Item) -> bool:
    """Whether a subclass must define this method or property: its body is `...`. Nobody defines a `__call__`."""
    return item.name != "__call__" and bool(_ELLIPSIS_BODY.search(item.source))


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _without_receiver(item: Item, text: str) -> str:
    """A signature without self; a class method is shown as called, `Payload.of(...)`."""
    if "classmethod" in item.labels and item.parent:
        text = f"{item.parent.name}.{text}"
    return re.sub(r"\((self|cls)(, |\))", lambda found: "(" if found[2] == ", " else "()", text, count=1)


def _attribute(item: Item) -> str:
    if not isinstance(item, griffe.Attribute):
        return item.name
    if "property" in item.labels:
        return f"{item.name} -> {item.annotation}"
    kind = "ClassVar[{}]" if item.labels == {"class-attribute"} else "{}"  # griffe drops the ClassVar
    annotation = "" if item.annotation is None else f": {kind.format(item.annotation)}"
    return f"{item.name}{annotation}" + ("" if item.value is None else f" = {item.value}")
