"""What a class takes, read from its source text: no module is imported, so that torch is not either."""

import ast
import builtins
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diffect.config.types import Part

_IMPORTED = ("typing", "collections.abc", "pathlib", "annotated_types", "diffect.config.types")
"""Modules of types that are light enough to be imported; all others are read."""


@dataclass(frozen=True)
class Parameter:
    """An argument: its annotation, `Any` where that cannot be known, and whether it must be given."""

    annotation: Any
    required: bool


@dataclass(frozen=True)
class Module:
    """A module's source text, its path and its top-level statements by the names that they define."""

    name: str
    path: Path
    text: str
    tree: ast.Module = field(repr=False, compare=False, hash=False)

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """The classes, functions and assignments at the top level, by name."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign):
                found.update((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        return found

    @cached_property
    def imports(self) -> dict[str, tuple[str, str | None]]:
        """By the name here: (module, name there, or None for the module itself)."""
        found: dict[str, tuple[str, str | None]] = {}
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update((item.asname or item.name.split(".")[0], (item.name, None)) for item in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*above, *([node.module] if node.module else [])])
                found.update((item.asname or item.name, (source, item.name)) for item in node.names)
        return found


@dataclass(frozen=True)
class Definition:
    """A statement and the module in which it stands."""

    module: Module
    node: ast.AST


@cache
def read(name: str) -> Module | None:
    """The module of this name; None where there is no source for it. Imports nothing, not even its packages."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    for number in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join([top, *rest[: number + 1]]), list(spec.submodule_search_locations))
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    text = Path(spec.origin).read_text(encoding="utf-8")
    return Module(name, Path(spec.origin), text, ast.parse(text))


@cache
def find(target: str) -> Definition | None:
    """The class or function, or a class's method, that a `_target_` names, wherever it is defined."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = read(".".join(parts[:cut]))
        if module is not None:
            found = _defined(module, parts[cut])
            for name in parts[cut + 1 :]:
                found = None if found is None else _member(found, name)
            return found
    return None


@cache
def parameters(target: str) -> Mapping[str, Parameter] | None:
    """The arguments that a class or function takes by keyword; None where that cannot be read, or anything goes."""
    found = find(target)
    return None if found is None else _parameters(found)


def defines(target: str, method: str) -> bool:
    """Whether a class, or one that it derives from, defines a method that is not abstract."""
    found = find(target)
    return found is not None and any(
        isinstance(node, ast.FunctionDef) and node.name == method and not _is_abstract(node)
        for ancestor in _ancestors(found)
        for node in ast.iter_child_nodes(ancestor.node)
    )


def constant(target: str, name: str) -> Any:
    """A literal that a class, or one that it derives from, assigns to a name in its body; None where there is none."""
    found = find(target)
    for ancestor in _ancestors(found) if found is not None else ():
        for node in ast.iter_child_nodes(ancestor.node):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return ast.literal_eval(node.value)
    return None


def _is_abstract(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("abstractmethod") for decorator in node.decorator_list)


def _defined(module: Module, name: str, seen: tuple[tuple[str, str], ...] = ()) -> Definition | None:
    """The top-level statement that defines a name, in the module itself or in one that it imports it from."""
    if (module.name, name) in seen:
        return None
    seen = (*seen, (module.name, name))
    node = module.definitions.get(name)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
        return _defined(module, node.value.id, seen)
    if node is not None:
        return Definition(module, node)
    source, there = module.imports.get(name, ("", None))
    other = read(source) if there else None
    return None if other is None or there is None else _defined(other, there, seen)


def _member(found: Definition, name: str) -> Definition | None:
    for ancestor in _ancestors(found):
        for node in ast.iter_child_nodes(ancestor.node):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return Definition(ancestor.module, node)
    return None


def _ancestors(found: Definition) -> Iterator[Definition]:
    """The class and those it derives from, as far as their source is there."""
    yield found
    for base in found.node.bases if isinstance(found.node, ast.ClassDef) else ():
        if (parent := _resolved(found.module, base)) is not None:
            yield from _ancestors(parent)


def _resolved(module: Module, node: ast.expr) -> Definition | None:
    """What an expression such as `Base`, `Base[int]` or `nn.Module` names."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        return _defined(module, node.id)
    if isinstance(node, ast.Attribute):
        here, _, rest = ast.unparse(node).partition(".")
        source, there = module.imports.get(here, ("", None))
        return find(".".join([source, *([there] if there else []), rest])) if source else None
    return None


def _parameters(found: Definition) -> Mapping[str, Parameter] | None:
    if isinstance(found.node, ast.FunctionDef):
        return _of_function(Definition(found.module, found.node), method=False)
    if not isinstance(found.node, ast.ClassDef):
        return None
    if _is_dataclass(found.node):
        return _of_dataclass(found)
    for ancestor in _ancestors(found):
        for node in ast.iter_child_nodes(ancestor.node):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return _of_function(Definition(ancestor.module, node), method=True)
        if isinstance(ancestor.node, ast.ClassDef) and _is_dataclass(ancestor.node):
            return _of_dataclass(ancestor)
    return {}


def _of_function(found: Definition, method: bool) -> Mapping[str, Parameter] | None:
    arguments = found.node.args  # type: ignore[attr-defined]
    if arguments.kwarg is not None:
        return None
    plain = [*arguments.posonlyargs, *arguments.args]
    first = len(plain) - len(arguments.defaults)
    taken = {arg.arg: Parameter(_annotation(found.module, arg.annotation), n < first) for n, arg in enumerate(plain)}
    for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        taken[arg.arg] = Parameter(_annotation(found.module, arg.annotation), default is None)
    return dict(list(taken.items())[1:]) if method else taken


def _of_dataclass(found: Definition) -> Mapping[str, Parameter]:
    taken: dict[str, Parameter] = {}
    for ancestor in reversed(list(_ancestors(found))):
        for node in ast.iter_child_nodes(ancestor.node):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                taken[node.target.id] = Parameter(_annotation(ancestor.module, node.annotation), node.value is None)
    return taken


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _annotation(module: Module, node: ast.expr | None) -> Any:
    """The type that an annotation means; a class that is only read is a Part, what cannot be known is Any."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if node is None:
        return Any
    names: Any = _Names(module)
    try:
        meant = eval(ast.unparse(node), {"__builtins__": {}}, names)
    except (AttributeError, KeyError, TypeError, SyntaxError):
        return Any
    return type(None) if meant is None else meant


class _Names:
    """What the names in a module's annotations mean; nothing in it can be called but types and bounds."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def __getitem__(self, name: str) -> Any:
        source, there = self.module.imports.get(name, ("", None))
        if there is None and source:
            return _Imported(source)
        if source in _IMPORTED:
            return _light(getattr(importlib.import_module(source), str(there)))
        found = _defined(self.module, name)
        if found is not None:
            return _meaning(found)
        value = getattr(builtins, name, Any)
        return _light(value) if isinstance(value, type) else Any


@dataclass(frozen=True)
class _Imported:
    """A module under its name in an annotation, such as the nn of nn.Module."""

    name: str

    def __getattr__(self, name: str) -> Any:
        if self.name in _IMPORTED:
            return _light(getattr(importlib.import_module(self.name), name))
        found = find(f"{self.name}.{name}")
        return Any if found is None else _meaning(found)


def _light(value: Any) -> Any:
    """A type as a config can hold it: what is called is made by a part, and what is iterated is a list."""
    if value in (Callable, type):
        return Part
    return Sequence if value is Iterable else value


def _meaning(found: Definition) -> Any:
    if isinstance(found.node, ast.ClassDef):
        return Part
    return _annotation(found.module, found.node.value) if isinstance(found.node, ast.Assign) else Any
