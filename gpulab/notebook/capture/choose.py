"""Which names of a notebook are variables of the user, and which values are no results."""

from __future__ import annotations

import ast
import fnmatch
import io
import types
import warnings
from collections.abc import Collection, Iterator, Mapping

from gpulab.notebook.capture.foreign import is_instance
from gpulab.notebook.capture.guard import is_a

_NEVER = frozenset({"In", "Out", "get_ipython", "exit", "quit", "open", "GALAXY_INPUTS"})
_CODE = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
)
_STREAMS = (
    types.GeneratorType,
    types.AsyncGeneratorType,
    types.CoroutineType,
    Iterator,
)
LOOP_NOTE = "bound by a for loop alone: what it held in the last round"


def user_variables(
    namespace: Mapping[str, object], which: str, pattern: str, hidden: Collection[str]
) -> list[str]:
    """Return the names of the user's variables in the order in which they were made.

    Args:
        namespace: All names of the notebook.
        which: `all`, `none` or `pattern`.
        pattern: Shell-style wildcards, separated by commas or blanks.
        hidden: Names that IPython itself put there; a mapping also tells with which value.
    """
    if which == "none":
        return []
    wanted = pattern.replace(",", " ").split() if which == "pattern" else ["*"]

    def is_hidden(name: str) -> bool:
        if name.startswith("_") or name in _NEVER:
            return True
        # A name that the user bound anew is the user's.
        given = hidden.get(name) if isinstance(hidden, Mapping) else namespace[name]
        return name in hidden and given is namespace[name]

    return [
        name
        for name, value in list(namespace.items())
        if isinstance(name, str)
        and not is_hidden(name)
        and not is_code(value)
        and any(fnmatch.fnmatchcase(name, each) for each in wanted)
    ]


def is_code(value: object) -> bool:
    """Tell whether a value is a module, function or class, which no result is."""
    return is_a(value, _CODE) or is_instance(value, "numpy", "ufunc")


def no_result(value: object) -> str:
    """Say why a value is no result that can be saved; empty where it may be one."""
    if is_code(value):
        return "a module, function or class"
    if is_a(value, io.IOBase) or is_instance(value, "h5py", "HLObject"):
        return "an open file, or a part of one: it holds no values of its own"
    if is_a(value, _STREAMS):
        return "a generator or another stream, which can be read only once"
    if is_instance(value, "matplotlib.artist", "Artist"):
        return "part of a figure; the figures that were shown are saved as pictures"
    if is_instance(value, "tensorflow", "data.Dataset") or is_instance(
        value, "torch.utils.data", "Dataset", "DataLoader"
    ):
        return "a stream of data, not the data themselves"
    if is_instance(value, "keras", "KerasTensor") or is_instance(
        value, "tf_keras.src.engine.keras_tensor", "KerasTensor"
    ):
        return "a symbol in a graph, it has no values"
    for library in ("keras", "tf_keras"):
        if is_instance(value, library, "Layer", "layers.Layer"):
            return "a layer, not a whole model"
        if is_instance(value, library, "Loss", "losses.Loss", "Optimizer", "optimizers.Optimizer"):
            return "a loss or an optimizer, which is no result"
    if is_instance(value, "torch.optim", "Optimizer"):
        return "an optimizer, which is no result"
    if is_instance(value, "ipywidgets", "Widget"):
        return "a widget; the page shows its last state"
    return ""


def loop_names(sources: object) -> set[str]:
    """Return the names that the notebook binds as targets of `for` loops and in no other way.

    Args:
        sources: The text of each cell as Python code, IPython's `In`; anything else, and cells
            that are not Python, count for nothing.
    """
    looped: set[str] = set()
    bound: set[str] = set()
    for source in sources if isinstance(sources, list) else ():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
        for statement in tree.body:
            _look(statement, looped, bound)
    return looped - bound


def _look(node: ast.AST, looped: set[str], bound: set[str]) -> None:
    """Sort the names that a statement at the top level of a notebook binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        bound.add(node.name)
        # A function may bind names of the notebook by `global`.
        inner = (each for each in ast.walk(node) if isinstance(each, ast.Global))
        bound.update(name for each in inner for name in each.names)
        return
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        walrus = (each for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
        bound.update(each.target.id for each in walrus)
        return
    if isinstance(node, ast.For | ast.AsyncFor):
        names = (each for each in ast.walk(node.target) if isinstance(each, ast.Name))
        looped.update(each.id for each in names)
        for child in (node.iter, *node.body, *node.orelse):
            _look(child, looped, bound)
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        bound.add(node.id)
    if isinstance(node, ast.alias):
        bound.add((node.asname or node.name).split(".")[0])
    for child in ast.iter_child_nodes(node):
        _look(child, looped, bound)
