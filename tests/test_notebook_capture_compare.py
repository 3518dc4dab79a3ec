"""A converted model is compared with its original, and a difference is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gpulab.notebook.capture.compare import Trial, compare


def scaler_model(factor: float) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in "xy"]
    constant = numpy_helper.from_array(np.float32(factor), "factor")
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(
    ("expected", "note"),
    [
        ([[2.0, 4.0]], "largest difference to the original 0, on data"),
        ([[2.0, 4.5]], "do not rely on this file"),
        ([[2.0, float("nan")]], "do not rely on this file"),
        ([[2.0, 4.0, 6.0]], "not compared"),
    ],
)
def test_a_model_that_computes_something_else_is_told(
    tmp_path: Path, expected: list[list[float]], note: str
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(scaler_model(2), path)
    verdict = compare(path, Trial([np.array([[1.0, 2.0]])], [np.array(expected)], "data"))
    assert note in verdict.note
    assert verdict.agrees is (note.startswith("largest"))


def test_labels_are_compared_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(scaler_model(2), path)
    wanted = np.array([["2.0", "5.0"]])
    verdict = compare(path, Trial([np.array([[1.0, 2.0]])], [wanted], "data"))
    assert verdict.note.startswith("1 of 2 labels differ")
    assert not verdict.agrees
