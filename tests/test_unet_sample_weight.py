"""Weights of samples decide what is learnt and what counts in validation."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from gpulab.errors import InputError
from gpulab.jobs import OutputFolder
from gpulab.testing.datasets import write_arrays
from gpulab.testing.phantoms import phantom_slices
from gpulab.unet.job import train_job
from gpulab.unet.settings import DatasetNames, inputs_from_params

TRUSTED = 12
NETWORK = {"base_filters": 4, "depth": 2, "dropout": 0.0}
TRAINING = {
    "epochs": 24,
    "batch_size": 4,
    "augmentation": "none",
    "learning_rate": 0.01,
    "precision": "float32",
}


def half_wrong(path: Path, seed: int) -> Path:
    """Write slices of which the second half have masks of everything but the foreground."""
    images, labels = phantom_slices(2 * TRUSTED, 32, seed=seed)
    labels[TRUSTED:] = 1 - labels[TRUSTED:]
    trusted = np.arange(2 * TRUSTED) < TRUSTED
    write_arrays(path, {"images": images, "masks": labels, "sample_weight": trusted.astype(float)})
    return path


def train(folder: Path, **names: str) -> str:
    with OutputFolder(folder / "out") as outputs:
        train_job(
            {
                "training": str(half_wrong(folder / "train.h5", 1)),
                "validation": str(half_wrong(folder / "valid.h5", 2)),
                "names": names,
                "network": NETWORK,
                "loss": {"loss": "bce_dice"},
                "optimiser": TRAINING,
            },
            outputs,
        )
    return (folder / "out" / "report.md").read_text(encoding="utf-8")


def trusted_dice(folder: Path) -> float:
    """Dice of the exported model on those validation slices whose masks are right."""
    import onnx
    import onnxruntime

    from gpulab.models.metadata import read_metadata
    from gpulab.models.overlap import ProbabilityHistogram

    path = folder / "out" / "model.onnx"
    with h5py.File(folder / "valid.h5") as file:
        images, labels = file["images"][:TRUSTED].astype(np.float32), file["masks"][:TRUSTED]
    (output,) = onnxruntime.InferenceSession(path).run(None, {"img": images})
    metadata = read_metadata(onnx.load(path))
    assert metadata is not None
    histogram = ProbabilityHistogram(2)
    histogram.add(labels, output)
    return histogram.mean_dice(metadata.threshold)


def test_samples_without_weight_teach_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = train(tmp_path)
    assert "with the weights of the file: an image comes 0.00 to" in capsys.readouterr().out
    assert report.count("| 0.00 to 2.00 |") == 2
    with_weights = trusted_dice(tmp_path)
    # The report's Dice is that of the slices that count.
    told = re.findall(r"Validation Dice .* \| ([0-9.]+)", report)[-1]
    assert with_weights == pytest.approx(float(told), abs=1e-3)
    report = train(tmp_path, training_weights="", validation_weights="")
    assert report.count("| all the same |") == 2
    assert "with the weights" not in capsys.readouterr().out
    assert trusted_dice(tmp_path) < 0.4 < 0.7 < with_weights


def test_foreground_that_counts_nothing_is_none(tmp_path: Path) -> None:
    images, labels = phantom_slices(8, 32, seed=3)
    labels[:4] = 0
    weights = np.repeat([1.0, 0.0], 4)
    for name in ("train", "valid"):
        path = tmp_path / f"{name}.h5"
        write_arrays(path, {"images": images, "masks": labels, "sample_weight": weights})
    with (
        pytest.raises(InputError, match="The training masks hold no foreground pixel at all"),
        OutputFolder(tmp_path / "out") as outputs,
    ):
        train_job(
            {"training": str(tmp_path / "train.h5"), "validation": str(tmp_path / "valid.h5")},
            outputs,
        )


def test_an_empty_name_switches_weights_off_and_nothing_else() -> None:
    files = {"training": "a.h5", "validation": "b.h5"}
    assert inputs_from_params(files).training_names == DatasetNames()
    names = {"training_images": "X", "training_weights": "", "validation_weights": None}
    inputs = inputs_from_params({**files, "names": names})
    assert inputs.training_names == DatasetNames("X", "masks", "")
    assert inputs.validation_names == DatasetNames("images", "masks", "")
