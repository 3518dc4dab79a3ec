"""Keras 3 and tf_keras models, and loaded SavedModels, to ONNX."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.notebook.capture.compare import Trial
from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.samples import Samples

OPSET = 18  # the newest that tf2onnx 1.17 writes


def export_keras(model: Any, path: Path, samples: Samples) -> Trial:
    """Export a model of Keras 3 of any class that was built or called.

    Args:
        model: The model.
        path: Where to write.
        samples: Data of the notebook to try it on.

    Returns:
        What the original made of sample data.

    Raises:
        UnsaveableError: Its inputs are unknown.
        Exception: Whatever Keras and tf2onnx raise for what they cannot convert.
    """
    keras = sys.modules["keras"]
    if not model.built:
        raise UnsaveableError("never built, trained or called, so its inputs are unknown")
    signature = _signature(model)
    specs = keras.tree.flatten(signature)
    feeds, source = _feeds(specs, samples)
    structured = keras.tree.pack_sequence_as(signature, feeds)
    expected = [np.asarray(each) for each in keras.tree.flatten(_call(model, structured))]
    model.export(str(path), format="onnx", opset_version=OPSET, verbose=False)
    return Trial(feeds, list(expected), source)


def _signature(model: Any) -> Any:
    """Return the inputs as Keras' own exporter sees them: one structure for each argument."""
    from keras.src.export.export_utils import get_input_signature

    try:
        signature = get_input_signature(model)
    except ValueError as error:
        raise UnsaveableError("never trained or called, so its inputs are unknown") from error
    if not signature:
        raise UnsaveableError("never trained or called, so its inputs are unknown")
    return list(signature)


def _call(model: Any, arguments: list[Any]) -> Any:
    return model(*arguments, training=False)


def _feeds(specs: list[Any], samples: Samples) -> tuple[list[Any], str]:
    """Return rows for each input, as many for one as for the other."""
    found = [_rows(spec, samples) for spec in specs]
    count = min(len(rows) for _, rows in found)
    names = sorted({name for name, _ in found})
    return [rows[:count] for _, rows in found], f"{count} rows of {', '.join(names)}"


def _rows(spec: Any, samples: Samples) -> tuple[str, Any]:
    plain = getattr(spec.dtype, "as_numpy_dtype", spec.dtype) or "float32"
    if plain is object or "string" in str(plain):
        raise UnsaveableError("takes text, for which ONNX has no counterpart of Keras' layers")
    dtype = np.dtype(plain)
    shape = [None if length is None else int(length) for length in spec.shape]
    name, rows = samples.fit(shape, "f" if dtype.kind == "f" else "i")
    return name, np.ascontiguousarray(rows, dtype=dtype)


def export_tf_keras(model: Any, path: Path, samples: Samples) -> Trial:
    """Export a model of the package tf_keras (Keras 2) that was built or called.

    Raises:
        UnsaveableError: Its inputs are unknown.
        Exception: Whatever TensorFlow and tf2onnx raise for what they cannot convert.
    """
    tensorflow = sys.modules["tensorflow"]
    inputs = getattr(model, "inputs", None) or _saved_spec(model)
    if not inputs:
        raise UnsaveableError("never trained or called, so its inputs are unknown")
    specs = [
        tensorflow.TensorSpec(each.shape, each.dtype, name=f"input_{number}")
        for number, each in enumerate(inputs)
    ]

    def run(*arrays: Any) -> Any:
        return model(arrays[0] if len(arrays) == 1 else list(arrays), training=False)

    return _export_function(run, specs, path, samples)


def _saved_spec(model: Any) -> list[Any]:
    spec = getattr(model, "_saved_model_inputs_spec", None)
    return [] if spec is None else list(sys.modules["tensorflow"].nest.flatten(spec))


def export_saved_model(model: Any, path: Path, samples: Samples) -> Trial:
    """Export what `tf.saved_model.load` gave, by its signature `serving_default`.

    Raises:
        UnsaveableError: It has no such signature.
        Exception: Whatever TensorFlow and tf2onnx raise for what they cannot convert.
    """
    tensorflow = sys.modules["tensorflow"]
    signature = dict(model.signatures).get("serving_default")
    if signature is None:
        raise UnsaveableError("a SavedModel without the signature serving_default")
    by_name = dict(signature.structured_input_signature[1])
    names = sorted(by_name)
    specs = [tensorflow.TensorSpec(by_name[n].shape, by_name[n].dtype, name=n) for n in names]

    def run(*arrays: Any) -> Any:
        return signature(**dict(zip(names, arrays, strict=True)))

    return _export_function(run, specs, path, samples)


def _export_function(
    run: Callable[..., Any], specs: list[Any], path: Path, samples: Samples
) -> Trial:
    tensorflow = sys.modules["tensorflow"]
    import tf2onnx

    feeds, source = _feeds(specs, samples)
    outputs = tensorflow.nest.flatten(run(*[tensorflow.constant(feed) for feed in feeds]))
    graph = tensorflow.function(run, input_signature=specs)
    _mend_tf2onnx()
    tf2onnx.convert.from_function(graph, specs, opset=OPSET, output_path=str(path))
    return Trial(feeds, [np.asarray(each) for each in outputs], source)


def _mend_tf2onnx() -> None:
    """Let tf2onnx work with NumPy 2 as Keras 3 does it, where Keras 3 is there."""
    try:
        from keras.src.export.tf2onnx_lib import patch_tf2onnx
    except ImportError:
        return
    patch_tf2onnx()
