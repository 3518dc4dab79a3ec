"""From a trained Keras model to a checked ONNX file."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.models.metadata import ModelMetadata, write_metadata
from gpulab.unet.data import pad_batch
from gpulab.unet.network import INPUT_NAME, OUTPUT_NAME, Architecture, build_unet_with

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
    _name_ends(path)
    write_metadata(path, metadata)
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


def _name_ends(path: Path) -> None:
    """Give the input and the output the names that our documentation promises."""
    import onnx

    proto = onnx.load(path)
    renamed = {proto.graph.input[0].name: INPUT_NAME, proto.graph.output[0].name: OUTPUT_NAME}
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = renamed[value.name]
        dimensions = value.type.tensor_type.shape.dim
        for dimension, name in zip(dimensions, ("batch", "height", "width"), strict=False):
            dimension.dim_param = name
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    onnx.save(proto, path)


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
