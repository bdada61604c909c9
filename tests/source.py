"""The source read as trees, for laws about it: modules, what they import and define."""

import ast
import functools
import pathlib

from dreamerv2 import settings

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("dreamerv2", "common", "gym_minigrid")
SCRIPTS = [name for name in settings.SCRIPTS if "." not in name]
TYPES_ONLY = "TYPE_CHECKING"


def find_modules() -> dict[str, pathlib.Path]:
    """All modules of the packages, however deep, and the scripts."""
    modules = {name: ROOT / f"{name}.py" for name in SCRIPTS}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts).removesuffix(".__init__")] = path
    del modules["gym_minigrid.setup"]  # not part of the package
    return modules


MODULES = find_modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


@functools.cache
def imports(name: str, lazy: bool = True) -> set[str]:
    """Dotted names that a module imports; also those not at once if `lazy`."""
    return imported(TREES[name], lazy)


def imported(tree: ast.AST, lazy: bool = True) -> set[str]:
    """Dotted names that a tree imports; ValueError for a relative import."""
    found = set()
    for node in walk(tree, lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"relative import: {ast.unparse(node)}; name it whole")
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= ours(below) or {node.module}
    return found


def walk(tree: ast.AST, lazy: bool):
    """Nodes below a tree; also those that importing it does not reach if `lazy`."""
    for node in ast.iter_child_nodes(tree):
        yield node
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == TYPES_ONLY
        if lazy or not later and not for_types:
            yield from walk(node, lazy)


def ours(names: set[str]) -> set[str]:
    """Those of the names that are modules of this repository."""
    return names & set(MODULES)


def tops(names: set[str]) -> set[str]:
    """The packages at the top of dotted names."""
    return {name.partition(".")[0] for name in names}


def closure(*names: str) -> set[str]:
    """The modules and all of ours that importing them loads."""
    seen, todo = set(), list(names)
    while todo:
        now = todo.pop()
        if now not in seen:
            seen.add(now)
            todo += ours(imports(now, lazy=False))
            todo += ours({now.rpartition(".")[0]})
    return seen


def loads(name: str, lazy: bool = True) -> set[str]:
    """Top-level packages that the modules loaded with a module import."""
    return {top for module in closure(name) for top in tops(imports(module, lazy))}


def public(node: ast.AST) -> list[ast.AST]:
    """Public functions and classes of a module or class, methods included."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    found = [
        child
        for child in ast.iter_child_nodes(node)
        if isinstance(child, kinds) and not child.name.startswith("_")
    ]
    classes = [child for child in found if isinstance(child, ast.ClassDef)]
    return found + [below for child in classes for below in public(child)]
