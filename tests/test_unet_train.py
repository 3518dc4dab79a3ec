"""Training runs for real: it learns, continues, stops in order, and says what it cannot use."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpulab.errors import InputError
from gpulab.jobs import OutputFolder, run_tool
from gpulab.unet.job import train_job

ROOT = Path(__file__).parents[1]
DATA = ROOT / "test-data"
SCRIPT = ROOT / "tools" / "unet_train" / "unet_train.py"


def params(**changes: Any) -> dict[str, Any]:
    values = {
        "training": str(DATA / "part_train.h5"),
        "validation": str(DATA / "part_valid.h5"),
        "network": {"base_filters": 4, "depth": 2, "dropout": 0.0},
        "loss": {"loss": "bce_dice"},
        "optimiser": {
            "epochs": 8,
            "batch_size": 4,
            "augmentation": "none",
            "learning_rate": 0.01,
            "precision": "float32",
        },
    }
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return values


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with OutputFolder(folder) as outputs:
        train_job(params(), outputs)
    return folder


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.tabular").open() as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file, delimiter="\t")
        ]


def test_training_learns_the_foreground(trained: Path) -> None:
    rows = history(trained)
    assert len(rows) == 8
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert max(row["val_dice"] for row in rows) > 0.5
    assert {path.name for path in trained.iterdir()} == {
        "model.onnx",
        "history.tabular",
        "curves.png",
        "report.md",
        "weights.safetensors",
    }


def test_the_best_epoch_is_what_was_exported(trained: Path) -> None:
    import h5py
    import onnx
    import onnxruntime

    from gpulab.models.metadata import read_metadata
    from gpulab.models.overlap import ProbabilityHistogram

    rows = history(trained)
    best = max(rows, key=lambda row: row["val_best_dice"])
    session = onnxruntime.InferenceSession(trained / "model.onnx")
    with h5py.File(DATA / "part_valid.h5") as file:
        images = file["images"][:].astype(np.float32)
        labels = file["masks"][:].argmax(axis=-1).astype(np.uint8)
    (probabilities,) = session.run(["probabilities"], {"img": images})
    histogram = ProbabilityHistogram(2)
    histogram.add(labels, probabilities)
    assert histogram.mean_dice(0.5) == pytest.approx(best["val_dice"], abs=1e-3)
    metadata = read_metadata(onnx.load(trained / "model.onnx"))
    assert metadata is not None
    report = (trained / "report.md").read_text()
    assert f"**epoch {best['epoch']:.0f}**" in report
    # The threshold and its Dice are those after calibration. Thresholds are multiples of 0.05, and
    # calibration puts other masks on them than the history's.
    assert metadata.threshold == histogram.best_threshold()
    told = re.search(rf"Validation Dice \\\({metadata.threshold:.2f}\\\) \| ([0-9.]+)", report)
    assert told is not None
    assert histogram.mean_dice(metadata.threshold) == pytest.approx(float(told[1]), abs=1e-3)
    assert float(told[1]) == pytest.approx(best["val_best_dice"], abs=0.01)


def test_the_model_carries_its_metadata_and_takes_any_size(trained: Path) -> None:
    import onnx
    import onnxruntime

    from gpulab.models.metadata import read_metadata

    metadata = read_metadata(onnx.load(trained / "model.onnx"))
    assert metadata is not None
    assert metadata.class_names == ("background", "foreground")
    assert metadata.spatial_multiple == 4
    assert 0 < metadata.threshold < 1
    assert metadata.loss == "BCE + Dice"
    assert not metadata.mirrored
    assert metadata.image_size == (64, 64)
    assert metadata.grey_values == pytest.approx((49.13, 56.61), abs=0.01)
    session = onnxruntime.InferenceSession(trained / "model.onnx")
    (output,) = session.run(None, {"img": np.zeros((3, 20, 36, 1), np.float32)})
    assert output.shape == (3, 20, 36, 2)


def test_a_model_of_mirrored_images_says_so(tmp_path: Path) -> None:
    import onnx

    from gpulab.models.metadata import read_metadata

    with OutputFolder(tmp_path) as outputs:
        train_job(params(optimiser={"epochs": 1, "augmentation": "light"}), outputs)
    metadata = read_metadata(onnx.load(tmp_path / "model.onnx"))
    assert metadata is not None and metadata.mirrored


def test_training_goes_on_from_weights(trained: Path, tmp_path: Path) -> None:
    first = history(trained)
    with OutputFolder(tmp_path) as outputs:
        train_job(
            params(
                weights=str(trained / "weights.safetensors"),
                optimiser={"epochs": 1, "learning_rate": 1e-6, "schedule": "constant"},
            ),
            outputs,
        )
    best = max(row["val_best_dice"] for row in first)
    assert history(tmp_path)[0]["val_best_dice"] == pytest.approx(best, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": str(DATA / "no_foreground.h5")}, "no foreground pixel at all"),
        ({"validation": None}, "No validation data were given"),
        ({"weights": str(DATA / "part_train.h5")}, "no safetensors file"),
        ({"weights": str(DATA / "unet_weights.safetensors")}, "base_filters = 2"),
        ({"loss": {"loss": "hinge"}}, "The loss 'hinge' is not known"),
        ({"optimiser": {"epochs": -1}}, "The number of epochs is -1"),
        ({"optimiser": {"learning_rate": 1.0, "schedule": "constant"}}, None),
    ],
)
def test_what_cannot_be_used_leaves_nothing(
    changes: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    if message is None:  # an absurd learning rate must not crash: it trains or is told
        try:
            with OutputFolder(tmp_path) as outputs:
                train_job(params(**changes), outputs)
        except InputError as error:
            assert "learning rate" in str(error)
        return
    with pytest.raises(InputError, match=message), OutputFolder(tmp_path) as outputs:
        train_job(params(**changes), outputs)
    assert list(tmp_path.iterdir()) == []


def test_an_input_error_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "params.json"
    file.write_text(json.dumps(params(training="/nowhere\nat all.h5")))
    with pytest.raises(SystemExit) as exit_:
        run_tool(train_job, ["--params", str(file), "--outputs", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_a_job_told_to_stop_still_exports_its_best_model(tmp_path: Path) -> None:
    file = tmp_path / "params.json"
    file.write_text(json.dumps(params(optimiser={"epochs": 10_000})))
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "--params", str(file)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + 120
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                process.send_signal(signal.SIGTERM)
                break
            assert time.monotonic() < deadline
        rest = process.stdout.read()
        assert process.wait(timeout=120) == 0
    assert "Asked to stop" in rest
    assert "training was cut short" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "model.onnx").stat().st_size > 1000
