"""From a trained Keras model to a checked ONNX file."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpulab.models.metadata import ModelMetadata, set_metadata
from gpulab.unet.data import pad_batch
from gpulab.unet.network import INPUT_NAME, OUTPUT_NAME, Architecture, build_unet_with
from gpulab.unet.upsampling import cut_upsampling

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the newest that tf2onnx 1.17 writes
LARGEST_DIFFERENCE = 1e-4


class ExportError(RuntimeError):
    """The exported model does not compute what the trained one does: a defect, not the user's."""


def float32_copy(model: Any, architecture: Architecture) -> Any:
    """Return the same network in float32 with the weights of `model`.

    Weights exported from a mixed-precision model would be 16 bits wide.
    """
    copy = build_unet_with("float32", architecture)
    copy.set_weights(model.get_weights())
    return copy


def export_onnx(
    model: Any,
    architecture: Architecture,
    metadata: ModelMetadata,
    samples: NDArray[np.float32],
    path: Path,
) -> float:
    """Write the model as ONNX with its metadata, check it, and compare it with Keras.

    Args:
        model: Trained model of the current Keras backend.
        architecture: What it was built from.
        metadata: What the file says about itself.
        samples: Real raw images to compare on, float32 (b, h, w, channels).
        path: Where to write; batch, height and width of the model are dynamic.

    Returns:
        The largest absolute difference between the probabilities of ONNX Runtime and of Keras.

    Raises:
        ExportError: The difference is above 1e-4 or not finite.
    """
    import onnx

    model = float32_copy(model, architecture)
    samples = pad_batch(samples, architecture.spatial_multiple)
    expected = model.predict_on_batch(samples)  # Keras exports only models that were called
    # tf2onnx talks to standard output about every graph it looks at.
    with contextlib.redirect_stdout(io.StringIO()), _no_graph_copies():
        model.export(path, format="onnx", opset_version=OPSET, verbose=False)
    proto = onnx.load(path)
    cut_upsampling(proto.graph)
    _name_tensors(proto.graph)
    set_metadata(proto, metadata)
    onnx.save(proto, path)
    onnx.checker.check_model(str(path), full_check=True)
    return _compare(path, samples, expected)


@contextlib.contextmanager
def _no_graph_copies() -> Iterator[None]:
    """Let a failing optimiser of tf2onnx raise, so that no copies are kept to go back to.

    tf2onnx 1.17 copies the graph with its weights before each of its optimisers. With 32 base
    filters an export took 4.0 GB with these copies and 2.4 GB without. The variable counts
    whatever its value.
    """
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _name_tensors(graph: onnx.GraphProto) -> None:
    """Give the input and output the names that our documentation promises, and all else a number.

    tf2onnx numbers what it adds in the order of Python sets of strings, which is another in each
    process: the same weights made files that differed in names and in the order of constants.
    """
    import onnx

    names = {graph.input[0].name: INPUT_NAME, graph.output[0].name: OUTPUT_NAME}
    values = {tensor.name: tensor for tensor in graph.initializer}
    constants: list[onnx.TensorProto] = []
    for number, node in enumerate(graph.node):
        for name in node.input:
            if name in values and name not in names:
                names[name] = f"constant_{len(constants)}"
                constants.append(values[name])
        node.name = f"{node.op_type}_{number}"
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}:{place}")
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for tensor in constants:
        tensor.name = names[tensor.name]
    ordered = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in constants]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(ordered)
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
        dimensions = value.type.tensor_type.shape.dim
        for dimension, name in zip(dimensions, ("batch", "height", "width"), strict=False):
            dimension.dim_param = name


def _compare(path: Path, images: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: images})
    difference = float(np.max(np.abs(np.asarray(found) - np.asarray(expected))))
    # Written so that NaN fails as well.
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"ONNX Runtime and Keras differ by {difference:.2e}, more than "
            f"{LARGEST_DIFFERENCE:.0e}: the exported model must not be used"
        )
    return difference
