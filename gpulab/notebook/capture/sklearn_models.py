"""scikit-learn estimators, pipelines, searches and clusterers to ONNX."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.notebook.capture.compare import Trial, Verdict, compare
from gpulab.notebook.capture.guard import UnsaveableError, error_text
from gpulab.notebook.capture.samples import RANDOM, Samples
from gpulab.notebook.capture.sklearn_types import Port, attempts, parts_of

# What every converter of skl2onnx 1.20 can write.
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_NUMPY = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int64,
    "bool": np.bool_,
    "text": object,
}


def export_sklearn(estimator: Any, path: Path, samples: Samples) -> Verdict:
    """Export a fitted estimator with the features that it was fitted on.

    Several descriptions of the inputs may fit; the first whose model computes what the original
    does is kept, else the one that comes nearest.

    Args:
        estimator: The estimator.
        path: Where to write.
        samples: Data of the notebook to try it on.

    Returns:
        How the model compares with the original.

    Raises:
        UnsaveableError: It is not fitted, or skl2onnx knows no way.
    """
    _require_fitted(estimator)
    best: tuple[bytes, Verdict] | None = None
    failure: BaseException | None = None
    for ports in attempts(estimator, samples):
        try:
            verdict = _attempt(estimator, ports, path, samples)
        except Exception as error:  # noqa: BLE001  skl2onnx raises anything for what it lacks
            failure = failure or error
            continue
        if verdict.agrees:
            return verdict
        # The likeliest types are what users will feed, so others must be worth it.
        if best is None or _gap(verdict) < 0.1 * _gap(best[1]):
            best = path.read_bytes(), verdict
    if best is None:
        raise UnsaveableError(
            f"cannot be converted: {error_text(failure)}" if failure else "no input"
        )
    path.write_bytes(best[0])
    return best[1]


def _gap(verdict: Verdict) -> float:
    return float("inf") if verdict.difference is None else verdict.difference


def _require_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise UnsaveableError("not fitted yet") from error
    except TypeError as error:
        raise UnsaveableError(f"no estimator that can be fitted ({error_text(error)})") from error


def _attempt(estimator: Any, ports: list[Port], path: Path, samples: Samples) -> Verdict:
    model = _convert(estimator, ports, None)
    path.write_bytes(model.SerializeToString())
    trial = _try(estimator, ports, samples)
    verdict = compare(path, trial)
    if "string_normalizer" not in verdict.note:
        return verdict
    # The language that ONNX models name by default may not be installed where they run.
    model = _convert(estimator, ports, "C.UTF-8")
    path.write_bytes(model.SerializeToString())
    return compare(path, trial)


def _convert(estimator: Any, ports: list[Port], locale: str | None) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types

    types = {
        "float": data_types.FloatTensorType,
        "double": data_types.DoubleTensorType,
        "int": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType,
        "text": data_types.StringTensorType,
    }
    initial = [
        (port.name, types[port.kind]([None, port.width] if port.width else [None]))
        for port in ports
    ]
    options: dict[Any, Any] = {}
    if locale is not None:
        readers = (part for part in parts_of(estimator) if hasattr(part, "build_analyzer"))
        options = {id(part): {"locale": locale} for part in readers}
    converted = _without_flattening(estimator)
    more: dict[str, Any] = {"initial_types": initial, "target_opset": _OPSETS}
    with _whole_numbers():
        try:
            plain = {**options, id(converted): {"zipmap": False}}
            model = convert_sklearn(converted, options=plain, **more)
        except NameError as error:
            # Only classifiers have the option.
            if "zipmap" not in str(error):
                raise
            model = convert_sklearn(converted, options=options, **more)
    return _unpack_sequences(model, len(getattr(estimator, "classes_", ())))


def _without_flattening(estimator: Any) -> Any:
    """Return a voting classifier with the one form of `transform` that skl2onnx knows."""
    if type(estimator).__name__ != "VotingClassifier":
        return estimator
    twin = copy.copy(estimator)
    twin.flatten_transform = False
    return twin


@contextmanager
def _whole_numbers() -> Iterator[None]:
    """Give ONNX numbers where skl2onnx 1.20 gives truth values, which ONNX 1.23 refuses."""
    container: Any = sys.modules["skl2onnx.common._container"]
    original = container.make_node

    def make_node(*arguments: Any, **attributes: Any) -> Any:
        for key, value in attributes.items():
            if isinstance(value, list) and any(isinstance(each, bool | np.bool_) for each in value):
                attributes[key] = [
                    int(each) if isinstance(each, bool | np.bool_) else each for each in value
                ]
        return original(*arguments, **attributes)

    container.make_node = make_node
    try:
        yield
    finally:
        container.make_node = original


def _unpack_sequences(model: Any, count: int) -> Any:
    """Turn an output that is a list of tensors, one for each target, into plain outputs."""
    import onnx

    graph = model.graph
    for output in [o for o in graph.output if o.type.WhichOneof("value") == "sequence_type"]:
        element = output.type.sequence_type.elem_type.tensor_type.elem_type
        graph.output.remove(output)
        for number in range(count):
            at, name = f"{output.name}_at_{number}", f"{output.name}_{number}"
            graph.initializer.append(onnx.numpy_helper.from_array(np.int64(number), at))
            graph.node.append(onnx.helper.make_node("SequenceAt", [output.name, at], [name]))
            shape = [None, None]
            graph.output.append(onnx.helper.make_tensor_value_info(name, element, shape))
    return model


def _try(estimator: Any, ports: list[Port], samples: Samples) -> Trial:
    """Run the original on real data where there are any, else on random numbers.

    Both get the numbers as the model takes them, mostly rounded to 32 bits.
    """
    failure: Exception | None = None
    for source, data in _data(estimator, ports, samples):
        rounded: list[np.ndarray[Any, Any]] = [
            np.asarray(each).astype(_NUMPY[p.kind]) for each, p in zip(data, ports, strict=True)
        ]
        try:
            expected = _outputs(estimator, _as_fitted(estimator, ports, rounded))
        except Exception as error:  # noqa: BLE001  data that fit by chance may raise anything
            failure = failure or error
            continue
        return Trial(rounded, expected, f"{len(rounded[0])} rows of {source}")
    raise UnsaveableError(f"no data to try it on: {error_text(failure)}" if failure else "no data")


def _data(
    estimator: Any, ports: list[Port], samples: Samples
) -> Iterator[tuple[str, list[np.ndarray[Any, Any]]]]:
    names = getattr(estimator, "feature_names_in_", None)
    if len(ports) > 1 or names is not None:
        wanted = list(names) if names is not None else []
        for name, frame in samples.frames():
            if wanted and set(wanted) <= set(frame.columns):
                rows = frame[wanted].iloc[:64]
                if len(ports) == 1:
                    yield name, [np.asarray(rows)]
                else:
                    yield name, [np.asarray(rows[each]).reshape(-1, 1) for each in wanted]
    if len(ports) > 1:
        for name, array in samples.arrays():
            if array.ndim == 2 and array.shape[1] == len(ports):
                yield name, [array[:, place : place + 1] for place in range(len(ports))]
        yield RANDOM, [_made_up(estimator, port, place) for place, port in enumerate(ports)]
        return
    port = ports[0]
    kinds = "OUST" if port.kind == "text" else "biuf"
    for name, array in samples.arrays():
        if port.width and array.ndim == 2 and array.shape[1] == port.width:
            if array.dtype.kind in kinds:
                yield name, [array]
        elif not port.width and array.ndim == 1 and array.dtype.kind in kinds:
            yield name, [array]
    yield RANDOM, [_made_up(estimator, port, None)]


def _made_up(estimator: Any, port: Port, place: int | None) -> np.ndarray[Any, Any]:
    """Return values for one input: known categories where there are any, else random numbers."""
    random = np.random.default_rng(0 if place is None else place)
    known = [c for p in parts_of(estimator) for c in _known(p) if _suits(c, port)]
    if port.kind == "text":
        known = known or [["a", "b", "the quick brown fox"]]
    if known:
        pools = known if len(known) == port.width else [known[0]] * max(1, port.width)
        drawn = [random.choice(np.asarray(pool, dtype=object), 16) for pool in pools]
        return np.stack(drawn, axis=1) if port.width else drawn[0]
    numbers = random.normal(size=(16, port.width or 1))
    return numbers if port.kind in ("float", "double") else (numbers > 0).astype(np.int64)


def _known(part: Any) -> Iterator[list[Any]]:
    for each in getattr(part, "categories_", None) or ():
        yield list(each)
    if type(part).__name__ in ("LabelEncoder", "LabelBinarizer"):
        yield list(part.classes_)
    if hasattr(part, "vocabulary_"):
        yield [str(word) for word in sorted(part.vocabulary_)]


def _suits(values: list[Any], port: Port) -> bool:
    return bool(values) and isinstance(values[0], str) == (port.kind == "text")


def _as_fitted(estimator: Any, ports: list[Port], data: list[np.ndarray[Any, Any]]) -> Any:
    """Return data in the form in which the estimator was fitted: a table, an array or a list."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        import pandas

        if len(ports) == 1:
            return pandas.DataFrame(data[0], columns=list(names))
        columns = {name: each[:, 0] for name, each in zip(names, data, strict=True)}
        return pandas.DataFrame(columns)
    if len(ports) > 1:
        kinds = {port.kind for port in ports}
        joined = [each.astype(object) for each in data] if len(kinds) > 1 else data
        return np.concatenate(joined, axis=1)
    return data[0] if ports[0].width or ports[0].kind != "text" else list(data[0])


def _outputs(estimator: Any, data: Any) -> list[np.ndarray[Any, Any] | None]:
    """Return what the exported model's outputs should be, in their order."""
    if not hasattr(estimator, "predict"):
        made = estimator.transform(data)
        return [np.asarray(made.toarray() if hasattr(made, "toarray") else made)]
    outputs: list[np.ndarray[Any, Any] | None] = [np.asarray(estimator.predict(data))]
    for method in ("predict_proba", "decision_function"):
        if hasattr(estimator, method) and _is_classifier(estimator):
            scores = getattr(estimator, method)(data)
            outputs += [np.asarray(s) for s in scores] if isinstance(scores, list) else [scores]
            break
    return outputs


def _is_classifier(estimator: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(estimator))
