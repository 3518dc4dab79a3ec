"""What the weight of the total variation does to the outlines of predicted masks.

Trains the same network from the same seed with several weights and scores it on slices that it has
not seen: Dice, the total variation of its probabilities, and the length of its outlines against
that of the true ones (1 is the right length, more is ragged).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import print_machine, print_table
from gpulab.models.overlap import ProbabilityHistogram
from gpulab.testing import one_hot, phantom_slices
from gpulab.testing.datasets import write_arrays
from gpulab.unet.data import open_samples
from gpulab.unet.losses import total_variation
from gpulab.unet.settings import TrainingSettings
from gpulab.unet.train import train


def main() -> None:
    """Print a table for the wanted weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="HDF5 of the original's layout, else phantoms")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 2.4e-7, 0.1, 0.3, 1.0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--base-filters", type=int, default=8)
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        rows = [_row(weight, arguments, Path(name)) for weight in arguments.weights]
    print_table(("weight", "Dice", "total variation", "outline against the true one"), rows)


def _row(weight: float, arguments: argparse.Namespace, folder: Path) -> tuple[object, ...]:
    settings = TrainingSettings(
        loss="bce_tv",
        tv_weight=weight,
        epochs=arguments.epochs,
        base_filters=arguments.base_filters,
        augmentation="none",
    )
    training, validation = folder / "train.h5", folder / "valid.h5"
    names = {"images": "images", "masks": "masks"}
    if arguments.data is None:
        for seed, (path, n) in enumerate(((training, 96), (validation, 24))):
            images, labels = phantom_slices(n, 64, seed=seed)
            write_arrays(path, {"images": images, "masks": one_hot(labels)})
        valid_names = names
    else:
        training = validation = arguments.data
        names = {"images": "X_train", "masks": "y_train"}
        valid_names = {"images": "X_valid", "masks": "y_valid"}
    with (
        open_samples(training, folder, **names, label="training data") as train_samples,
        open_samples(validation, folder, **valid_names, label="validation data") as valid_samples,
    ):
        found = train(settings, train_samples, valid_samples)
        images, labels = valid_samples.read(np.arange(len(valid_samples)))
        probabilities = found.model.predict(images, batch_size=16, verbose=0)
    histogram = ProbabilityHistogram(2)
    histogram.add(labels, probabilities)
    outline = _outline(probabilities[..., 1] > 0.5) / _outline(labels > 0)
    variation = float(total_variation(probabilities))
    return weight, f"{histogram.mean_dice(0.5):.3f}", f"{variation:.4f}", f"{outline:.2f}"


def _outline(masks: NDArray[np.bool_]) -> float:
    from skimage.measure import perimeter

    return float(sum(perimeter(mask) for mask in masks))


if __name__ == "__main__":
    main()
