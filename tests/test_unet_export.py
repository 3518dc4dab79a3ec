"""The exported graph: nothing in it that the answer does not need, and the answer is Keras'."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gpulab.models.metadata import ModelMetadata
from gpulab.models.runtime import make_session
from gpulab.unet.export import export_onnx
from gpulab.unet.network import Architecture, build_unet
from gpulab.unet.upsampling import cut_upsampling

ARCHITECTURE = Architecture(base_filters=4, depth=3, scaling="fixed", shift=100.0, scale=50.0)


def images(height: int, width: int, channels: int = 1) -> np.ndarray:
    random = np.random.default_rng(height)
    return random.normal(100, 50, (2, height, width, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    model = build_unet(ARCHITECTURE)
    export_onnx(model, ARCHITECTURE, ModelMetadata(spatial_multiple=8), images(16, 16), path)
    return model, path


def test_the_graph_is_that_of_the_network(exported: tuple[Any, Path]) -> None:
    kinds = Counter(node.op_type for node in onnx.load(exported[1]).graph.node)
    layout = {kind: kinds.pop(kind, 0) for kind in ("Transpose", "Reshape", "Unsqueeze")}
    # Two convolutions a level, seven levels, and the last one; batch normalisation is folded.
    assert kinds == {
        "Conv": 15,
        "Relu": 14,
        "MaxPool": 3,
        "ConvTranspose": 3,
        "Concat": 3,
        "Mul": 1,
        "Add": 1,
        "Sigmoid": 1,
    }
    # Images come and masks go with channels last; in between nothing is turned.
    assert sum(layout.values()) <= 3


@pytest.mark.parametrize(("height", "width"), [(8, 8), (24, 40), (64, 16)])
def test_any_size_gives_what_keras_gives(
    exported: tuple[Any, Path], height: int, width: int
) -> None:
    model, path = exported
    session = make_session(path.read_bytes(), gpu=False, threads=1)
    batch = images(height, width)
    (found,) = session.run(None, {"img": batch})
    np.testing.assert_allclose(found, model.predict_on_batch(batch), atol=1e-5)


def test_other_transposed_convolutions_stay_as_they_are() -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 2, 2], np.ones(4))
    ends = [helper.make_tensor(name, TensorProto.INT64, [1], [9]) for name in ("start", "end")]
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Slice", ["a", "start", "end"], ["b"]),
        helper.make_node("Pad", ["b", "start"], ["y"]),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [value], [out], [weights, *ends])
    before = graph.SerializeToString()
    cut_upsampling(graph)
    assert graph.SerializeToString() == before
