"""What the tools' scripts import, and what they must not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpulab.testing.files import TEST_FILES
from gpulab.testing.forms import split_by_fraction

ROOT = Path(__file__).parents[1]

# Runs a tool's function on parameters and tells which of the named packages it has loaded.
RUN = """
import importlib, json, sys
from pathlib import Path
from gpulab.jobs import OutputFolder
module, function, params, outputs, packages = sys.argv[1:]
with OutputFolder(Path(outputs)) as folder:
    getattr(importlib.import_module(module), function)(json.loads(params), folder)
print(json.dumps([name for name in packages.split() if name in sys.modules]))
"""
MODULES = ["gpulab.masks.job", "gpulab.unet.job", "gpulab.h5.build_job", "gpulab.h5.split_job"]
HEAVY = "tensorflow keras matplotlib sklearn scipy skimage onnx onnxruntime tf2onnx pandas jax"


def python(code: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def item(path: Path) -> dict[str, Any]:
    return {"element_identifier": path.name, "source_path": str(path), "ext": path.suffix[1:]}


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    import gpulab.testing.datasets
    import gpulab.testing.onnx_models  # noqa: F401

    def make(name: str) -> Path:
        path = tmp_path / Path(name).name
        TEST_FILES[name](path)
        return path

    return make


@pytest.mark.parametrize("module", MODULES)
def test_a_tool_answers_before_heavy_libraries_are_there(module: str) -> None:
    code = "import importlib, json, sys; importlib.import_module(sys.argv[1])\n"
    code += "print(json.dumps([name for name in sys.argv[2].split() if name in sys.modules]))"
    assert python(code, module, HEAVY) == []


def test_predicting_never_loads_tensorflow_or_keras(
    file: Callable[[str], Path], tmp_path: Path
) -> None:
    params = {
        "models": [item(file("predict/model_exact.onnx"))],
        "images": {
            "kind": "h5",
            "image_file": item(file("predict/part_exact.h5")),
            "images_name": "images",
            "truth": {"known": "yes", "masks_name": "masks"},
        },
        "thresholds": "",
        "fitting": {"mode": "auto", "tile": 512, "overlap": 0.25, "batch": 4},
        "reading": {"layout": "auto", "activation": "auto"},
        "drawing": {"rows": 2, "samples": "", "overlays": 2, "seed": 1, "image_title": "image"},
        "outputs": ["figure", "overlay", "threshold_curve", "report"],
        "probabilities": "no",
    }
    loaded = python(
        RUN, "gpulab.masks.job", "predict_job", json.dumps(params), str(tmp_path / "out"), HEAVY
    )
    assert "onnxruntime" in loaded  # the job did run
    assert not {"tensorflow", "keras", "tf2onnx", "jax"} & set(loaded)


def test_splitting_loads_no_library_of_training_or_prediction(
    file: Callable[[str], Path], tmp_path: Path
) -> None:
    params = {
        "dataset": str(file("combined.h5")),
        "seed": 42,
        "split": {**split_by_fraction(), "images": "X_train", "masks": "y_train"},
    }
    loaded = python(
        RUN, "gpulab.h5.split_job", "split_job", json.dumps(params), str(tmp_path / "out"), HEAVY
    )
    # It does draw a figure.
    assert not {"tensorflow", "keras", "onnx", "onnxruntime", "sklearn", "jax"} & set(loaded)


def test_keras_is_loaded_without_its_extras_which_stay_usable() -> None:
    code = """
import json, sys
from gpulab.unet.start import UNUSED_BY_KERAS, import_keras_alone
import_keras_alone()
loaded = [name for name in ("keras", *UNUSED_BY_KERAS) if name in sys.modules]
import matplotlib.pyplot, sklearn.metrics
print(json.dumps(loaded))
"""
    assert python(code) == ["keras"]
