"""Advice on repeating a run: which libraries draw random numbers, and whether they were seeded."""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import TYPE_CHECKING

from gpulab.notebook.source import code_cells, without_magics

if TYPE_CHECKING:
    from nbformat import NotebookNode

# Import name → the call that seeds it.
SEEDING = {
    "random": "random.seed(42)",
    "numpy": "numpy.random.seed(42)",
    "tensorflow": "tensorflow.keras.utils.set_random_seed(42)",
    "keras": "keras.utils.set_random_seed(42)",
    "torch": "torch.manual_seed(42)",
    "sklearn": "random_state=42 for each estimator",
}
_CALLS = frozenset(
    {
        "seed",
        "set_random_seed",
        "set_seed",
        "manual_seed",
        "seed_everything",
        "PRNGKey",
        "default_rng",
    }
)
_ARGUMENTS = frozenset({"random_state", "seed"})


def seed_advice(notebook: NotebookNode) -> str:
    """Return a sentence about seeds, empty for a notebook that draws no random numbers.

    The source is looked at, not run: a seed that a function of another module sets is not seen.
    """
    imported: dict[str, None] = {}
    for cell in code_cells(notebook):
        try:
            tree = ast.parse(without_magics(cell.source))
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if _is_seed(node):
                return "The notebook sets a seed. Results may still differ between devices."
            for name in _imports(node) & SEEDING.keys():
                imported[name] = None
    return _advise(imported)


def _advise(imported: Collection[str]) -> str:
    if not imported:
        return ""
    calls = ", ".join(SEEDING[name] for name in imported)
    return f"No seed was found: to get the same result again, set one in the first cell: {calls}."


def _is_seed(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    given = {keyword.arg for keyword in node.keywords}
    # default_rng() without an argument is seeded by the system.
    return (name in _CALLS and bool(node.args or node.keywords)) or bool(given & _ARGUMENTS)


def _imports(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module.partition(".")[0]}
    return set()
