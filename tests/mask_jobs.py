"""Running unet_predict on test files, for the tests of masks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import gpulab.testing.datasets
import gpulab.testing.onnx_models  # noqa: F401
from gpulab.jobs import OutputFolder
from gpulab.masks.job import predict_job
from gpulab.testing.files import TEST_FILES

Params = dict[str, Any]


def item(path: Path) -> dict[str, Any]:
    return {"element_identifier": path.name, "source_path": str(path), "ext": path.suffix[1:]}


def make_params(
    folder: Path, models: list[str], images: str, masks: str | None = "masks"
) -> Params:
    """Make parameters as Galaxy writes them, on test files that are named."""
    for name in {*models, images}:
        TEST_FILES[name](folder / Path(name).name)
    truth = {"known": "no"} if masks is None else {"known": "yes", "masks_name": masks}
    return {
        "models": [item(folder / Path(name).name) for name in models],
        "images": {
            "kind": "h5",
            "image_file": item(folder / Path(images).name),
            "images_name": "images",
            "truth": truth,
        },
        "thresholds": "",
        "prediction": {"flips": "auto", "mean": False},
        "fitting": {"mode": "auto", "tile": 512, "overlap": 0.25, "batch": 4},
        "reading": {"layout": "auto", "activation": "auto"},
        "drawing": {
            "rows": 3,
            "samples": "",
            "overlays": 4,
            "seed": 42,
            "image_title": "CT image",
        },
        "outputs": ["figure", "overlay", "threshold_curve", "report", "tiff_masks"],
        "probabilities": "no",
    }


def run(params: Params, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    with OutputFolder(out) as outputs:
        predict_job(json.loads(json.dumps(params)), outputs)
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))
