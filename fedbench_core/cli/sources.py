"""What the source says of the public names of a package: read, not imported, so in the author's order and words."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules


@dataclass(frozen=True)
class Item:
    """One name. code: how it is written; doc: what it says of itself; asked: whether it is left to the author."""

    name: str
    code: str
    doc: str
    members: tuple["Item", ...] = ()
    asked: bool = False


@dataclass(frozen=True)
class Module:
    """A module that a package takes public names from, in the order of its source."""

    name: str
    doc: str
    items: tuple[Item, ...]


def exported(package: str) -> dict[str, list[str]]:
    """The names that a package imports from modules of its own, by module: what may be imported from it."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(_parse(package)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.setdefault(node.module or "", []).extend(alias.name for alias in node.names)
    return found


def further(package: str) -> list[str]:
    """The public modules of a package that it imports nothing from: they are imported whole."""
    folder = str(_source(package).parent)
    names = [f"{package}.{module.name}" for module in iter_modules([folder]) if not module.name.startswith("_")]
    return [name for name in names if name not in exported(package)]


def read(module: str, names: Iterable[str] | None = None) -> Module:
    """What `module` says of `names`, or of all its public names."""
    tree = _parse(module)
    items = [item for item in _items(tree.body) if names is None or item.name in set(names)]
    return Module(module, _doc(tree), tuple(items))


def _source(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin)


def _parse(module: str) -> ast.Module:
    return ast.parse(_source(module).read_text(encoding="utf-8"))


def _items(body: Sequence[ast.stmt], owner: str = "") -> Iterator[Item]:
    """The public names of a module, or of the class `owner`; a string below a value is what it says of itself."""
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef) and _public(node.name):
            yield Item(node.name, _heading(node), _doc(node), tuple(_items(node.body, node.name)))
        elif isinstance(node, ast.FunctionDef) and _public(node.name):
            yield Item(node.name, _signature(node, owner), _doc(node), asked=_is_asked(node))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and _public(target.id):
                yield Item(target.id, _tidy(ast.unparse(node)), _text(below))


def _public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _heading(node: ast.ClassDef) -> str:
    bases = ", ".join(name for name in map(ast.unparse, node.bases) if name != "Protocol")
    return f"{node.name}({bases})" if bases else node.name


def _signature(node: ast.FunctionDef, owner: str) -> str:
    marks = {ast.unparse(mark) for mark in node.decorator_list}
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if marks & {"property", "cached_property"}:
        return _tidy(f"{node.name}{returns}")
    if owner and "staticmethod" not in marks:  # self or cls, which nobody gives
        del node.args.args[0]
    parameters = ast.unparse(node.args).replace("=", " = ")
    name = f"{owner}.{node.name}" if "classmethod" in marks else node.name
    return _tidy(f"{name}({parameters}){returns}")


def _tidy(code: str) -> str:
    """Code with double quotes, and without those of a name that is not known yet."""
    return re.sub(r"-> \"(\w+)\"$", r"-> \1", code.replace("'", '"'))


def _is_asked(node: ast.FunctionDef) -> bool:
    """Whether the body is `...`, as in a protocol; what is only called is a function that is handed over."""
    last = node.body[-1]
    dots = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...
    return dots and node.name != "__call__"


def _doc(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return ast.get_docstring(node) or ""


def _text(node: ast.stmt | None) -> str:
    value = node.value if isinstance(node, ast.Expr) else None
    return inspect.cleandoc(value.value) if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
