"""The model in 16 bits: half as large, as right, and safe with large grey values."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from gpulab.jobs import OutputFolder
from gpulab.models.metadata import ModelMetadata, read_metadata
from gpulab.models.runtime import make_session
from gpulab.unet.export import export_onnx
from gpulab.unet.half import write_half
from gpulab.unet.job import train_job
from gpulab.unet.network import Architecture, build_unet

DATA = Path(__file__).parents[1] / "test-data"


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = make_session(path.read_bytes(), gpu=False, threads=1)
    return np.asarray(session.run(None, {"img": images})[0])


def test_a_job_writes_it_on_request_and_tells_what_it_changes(tmp_path: Path) -> None:
    params = {
        "training": str(DATA / "part_train.h5"),
        "validation": str(DATA / "part_valid.h5"),
        "network": {"base_filters": 4, "depth": 2},
        "loss": {"loss": "bce_dice"},
        "optimiser": {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "precision": "float32"},
        "outputs": ["float16"],
    }
    with OutputFolder(tmp_path) as outputs:
        train_job(params, outputs)
    report = (tmp_path / "report.md").read_text().replace("\\", "")  # escaped for Markdown
    full = re.search(r"\| Validation Dice \(0\.(?!50)\d\d\) \| ([.\d]+) \|", report)
    told = re.search(
        r"model in 16 bits, 8 validation samples \| ([.\d]+) \(([-+][.\d]+) against", report
    )
    assert told
    assert abs(float(told[2])) < 0.01
    if full:  # the best threshold may be 0.50 itself
        assert float(told[1]) - float(told[2]) == pytest.approx(float(full[1]), abs=2e-3)
    sizes = [(tmp_path / name).stat().st_size for name in ("model_float16.onnx", "model.onnx")]
    assert sizes[0] < 0.7 * sizes[1]
    models = [onnx.load(tmp_path / name) for name in ("model_float16.onnx", "model.onnx")]
    assert read_metadata(models[0]) == read_metadata(models[1])
    kinds = {tensor.data_type for tensor in models[0].graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scaling", ["fixed", "image"])
def test_grey_values_beyond_float16_do_no_harm(tmp_path: Path, scaling: str, classes: int) -> None:
    architecture = Architecture(
        classes=classes, base_filters=4, depth=2, scaling=scaling, shift=1e5, scale=3e4
    )
    random = np.random.default_rng(0)
    images = random.normal(1e5, 3e4, (2, 16, 20, 1)).astype(np.float32)
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    metadata = ModelMetadata(class_names=tuple("abc"[:classes]), spatial_multiple=4)
    export_onnx(build_unet(architecture), architecture, metadata, images, full)
    write_half(full, half)
    assert np.ptp(run(full, images)[..., 1]) > 0.01
    np.testing.assert_allclose(run(half, images), run(full, images), atol=5e-3)
