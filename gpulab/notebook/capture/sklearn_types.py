"""What a fitted scikit-learn estimator takes: how many features, of which types and names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.samples import Samples

Kind = Literal["float", "double", "int", "bool", "text"]
_MAX_PARTS = 500


@dataclass(frozen=True)
class Port:
    """One input of an exported estimator.

    Attributes:
        name: Its name in the model.
        kind: Type of its values.
        width: Number of columns; 0 for a plain list of values (labels, texts).
    """

    name: str
    kind: Kind
    width: int


def parts_of(estimator: Any) -> list[Any]:
    """Return an estimator and all fitted ones within it, the outer ones first."""
    base = sys.modules["sklearn.base"].BaseEstimator
    found: list[Any] = []
    waiting, seen = [estimator], set()
    while waiting and len(found) < _MAX_PARTS:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, base):
            found.append(part)
            waiting += list(vars(part).values())
        elif isinstance(part, dict):
            waiting += list(part.values())
        elif isinstance(part, list | tuple) and len(part) <= _MAX_PARTS:
            waiting += list(part)
    return found


def attempts(estimator: Any, samples: Samples) -> Iterator[list[Port]]:
    """Yield descriptions of the inputs, the likeliest first.

    Raises:
        UnsaveableError: The estimator does not say how many features it takes.
    """
    parts = parts_of(estimator)
    names = {type(part).__name__ for part in parts}
    columns = getattr(estimator, "feature_names_in_", None)
    if type(estimator).__name__ in ("LabelEncoder", "LabelBinarizer"):
        yield [Port("input", _kind(estimator.classes_.dtype), 0)]
        return
    if "ColumnTransformer" in names:
        yield from _columns(parts, columns, samples)
        return
    if any(hasattr(part, "build_analyzer") for part in parts):
        yield [Port("input", "text", 0)]
        yield [Port("input", "text", 1)]
        return
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise UnsaveableError("does not say how many features it takes (no n_features_in_)")
    kinds = {kind for part in parts for kind in _category_kinds(part)}
    if kinds == {"text"}:
        yield [Port("input", "text", int(width))]
        return
    yield [Port("input", "float", int(width))]
    if kinds:
        yield [Port("input", "int", int(width))]
    yield [Port("input", "double", int(width))]


def _columns(parts: list[Any], columns: Any, samples: Samples) -> Iterator[list[Port]]:
    """Describe a pipeline that treats columns differently: an input for each column."""
    transformer = next(part for part in parts if type(part).__name__ == "ColumnTransformer")
    count = int(transformer.n_features_in_)
    names = list(columns if columns is not None else range(count))
    if len(names) != count:
        raise UnsaveableError("its columns are not those of its first step")
    exact = _from_frame(names, samples) or _from_steps(transformer, names)
    labels = [str(name) if columns is not None else f"column_{name}" for name in names]
    # Numbers of different types cannot be joined in ONNX, so all become float where that works.
    loose: list[Kind] = ["text" if kind == "text" else "float" for kind in exact]
    for kinds in (loose, exact):
        yield [Port(label, kind, 1) for label, kind in zip(labels, kinds, strict=True)]


def _from_frame(names: list[Any], samples: Samples) -> list[Kind] | None:
    for _, frame in samples.frames():
        if set(names) <= set(frame.columns):
            return [_kind(frame[name].dtype) for name in names]
    return None


def _from_steps(transformer: Any, names: list[Any]) -> list[Kind]:
    """Tell types from what the steps learnt, where the notebook keeps no such table."""
    kinds: dict[Any, Kind] = dict.fromkeys(names, "float")
    for _, step, columns in transformer.transformers_:
        chosen = _chosen(columns, names)
        learnt = [list(_category_kinds(part)) for part in parts_of(step)]
        known: list[Kind] = next((each for each in learnt if len(each) == len(chosen)), [])
        is_text = any(hasattr(part, "build_analyzer") for part in parts_of(step))
        for place, name in enumerate(chosen):
            kinds[name] = "text" if is_text else known[place] if known else kinds[name]
    return [kinds[name] for name in names]


def _chosen(columns: Any, names: list[Any]) -> list[Any]:
    if isinstance(columns, str | int):
        columns = [columns]
    if isinstance(columns, slice):
        return list(names[columns])
    listed = list(columns)
    if len(listed) == len(names) and all(isinstance(each, bool | np.bool_) for each in listed):
        return [name for name, used in zip(names, listed, strict=True) if used]
    return [
        names[each] if not isinstance(each, str) and each not in names else each for each in listed
    ]


def _category_kinds(part: Any) -> Iterator[Kind]:
    """Yield the type of each column of an encoder, or of what fills the gaps of texts."""
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list):
        for each in categories:
            yield _kind(np.asarray(each).dtype)
        return
    filling = getattr(part, "statistics_", None)
    if isinstance(filling, np.ndarray) and filling.dtype.kind in "OU":
        yield from ["text" if isinstance(each, str) else "float" for each in filling]


def _kind(dtype: Any) -> Kind:
    """Return the type of a column; of pandas' own types by their NumPy counterpart."""
    plain = getattr(dtype, "numpy_dtype", dtype)
    if not isinstance(plain, np.dtype):
        categories = getattr(plain, "categories", None)
        return "text" if categories is None else _kind(categories.dtype)
    kinds: dict[str, Kind] = {"b": "bool", "i": "int", "u": "int", "f": "float"}
    return kinds.get(plain.kind, "text")
