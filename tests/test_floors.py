"""Imports go downward: the floors of the package, read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest

from recap_exp.paths import PACKAGE

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "paths", "configclass", "terminal", "whole", "plain_yaml"),
    ("tasks",),
    ("data",),
    ("model", "metrics"),
    ("training", "evaluation", "scoring", "sweep", "tracking"),
    ("config", "checks", "graph_checks", "help", "config_errors", "composition", "stored"),
    (
        "comparison",
        "dependencies",
        "experiment",
        "finished",
        "graph_experiment",
        "graph_record",
        "interop",
        "make_data",
        "pyfunc",
        "ranker_record",
        "record",
        "rerun",
        "rescore",
        "resuming",
        "runs",
        "train_command",
        "twhin",
    ),
    ("commands",),
    ("job", "sweeper", "sweep_record"),
    ("cli", "__init__", "__main__"),
)
"""From the ground up. A folder is one room, a single module is one too."""

SHARED = FLOORS[0] + FLOORS[5] + FLOORS[6] + FLOORS[8] + FLOORS[9]
"""Single modules that may import others of their own floor. Rooms beside each other may not."""

LIGHT = ("cli", "help", "config", "checks", "composition", "config_errors", "plain_yaml", "stored")
"""What runs before a configuration is known to be right, and the rooms' config modules with it."""

HEAVY = {"torch", "mlflow", "pandas", "numpy", "pyarrow", "scipy", "sklearn", "matplotlib", "torchmetrics"}

MODULES = sorted(".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in PACKAGE.rglob("*.py"))
"""By path under the package; a folder's own module ends in `__init__`."""

CONFIGS = [m for m in MODULES if m.split(".")[-1] == "config"]


def floor(module: str) -> int:
    """Height of a module's room."""
    return next(height for height, rooms in enumerate(FLOORS) if module.split(".")[0] in rooms)


def imported(module: str, at_start: bool = False) -> Iterator[str]:
    """What a module imports: our modules as in MODULES, others by the name of their package.

    at_start: only what is imported when the module itself is, packages on the way to it among them.
    """
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    for node in _statements(ast.parse(path.read_text()), at_start):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert not node.level, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, *parts = name.split(".")
            if top != "recap_exp":
                yield top
                continue
            yield _module(parts)
            if at_start:
                packages = (".".join([*parts[:depth], "__init__"]) for depth in range(len(parts)))
                yield from (package for package in packages if package in MODULES)


def _statements(node: ast.AST, at_start: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (at_start and _later(child)):
            yield from _statements(child, at_start)


def _later(node: ast.AST) -> bool:
    """Whether a statement's imports happen in a call, or in a type checker alone."""
    return isinstance(node, ast.FunctionDef) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")


def _module(parts: list[str]) -> str:
    """The module that `recap_exp.PARTS` is, or is a name of."""
    for stem in (parts, [*parts, "__init__"], parts[:-1], [*parts[:-1], "__init__"]):
        if ".".join(stem) in MODULES:
            return ".".join(stem)
    raise AssertionError(f"recap_exp.{'.'.join(parts)} is no module")


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downward(module):
    room = module.split(".")[0]
    for other in set(imported(module)) & set(MODULES):
        beside = other.split(".")[0]
        allowed = floor(other) < floor(module) or beside == room or (floor(other) == floor(module) and beside in SHARED)
        assert allowed, f"{module} (floor {floor(module)}) imports {other} (floor {floor(other)})"


def test_nothing_imports_itself_in_a_circle():
    graph = {module: {m for m in imported(module, at_start=True) if m in MODULES and not m.endswith("__init__")} for module in MODULES}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", CONFIGS)
def test_configurations_know_only_configurations(module):
    known = {m for m in imported(module) if m in MODULES}
    assert known <= {*CONFIGS, "configclass", "tasks"}


@pytest.mark.parametrize("module", [*LIGHT, *CONFIGS])
def test_configurations_are_read_without_heavy_libraries(module):
    seen, waiting = set(), [module]
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += imported(name, at_start=True) if name in MODULES else []
    assert not seen & HEAVY
