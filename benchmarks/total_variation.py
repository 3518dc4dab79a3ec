"""What the weight of the total variation does to the predicted masks.

Trains the same network with several weights, each from the same seeds, and scores it on slices that
it has not seen: Dice, the total variation of its probabilities, and, against the true masks (1 is
right, more is ragged or crumbled), the length of the outlines and the number of islands.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import print_machine, print_table
from gpulab.models.overlap import ProbabilityHistogram
from gpulab.report.figures import new_figure, save_figure
from gpulab.testing import one_hot, phantom_slices
from gpulab.testing.datasets import write_arrays
from gpulab.unet.data import Samples, open_samples
from gpulab.unet.losses import total_variation
from gpulab.unet.settings import TrainingSettings
from gpulab.unet.train import train

HEADER = ("weight", "Dice", "total variation", "outline / true", "islands / true")
PICTURED = 3  # slices in the picture, those with the most foreground


def main() -> None:
    """Print a table for the wanted weights, and draw masks if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="HDF5 of the original's layout, else phantoms")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 2.4e-7, 0.1, 0.3, 1.0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--base-filters", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="PNG to draw some masks into")
    arguments = parser.parse_args()
    print_machine()
    rows, masks = [], {}
    with (
        tempfile.TemporaryDirectory() as name,
        _samples(arguments.data, Path(name)) as (training, validation),
    ):
        images, labels = validation.read(np.arange(len(validation)))
        for weight in arguments.weights:
            found = [
                _predict(_settings(weight, seed, arguments), training, validation, images)
                for seed in range(arguments.seeds)
            ]
            measures = np.array([_measures(*each, labels) for each in found])
            rows.append((weight, *_cells(measures)))
            probabilities, threshold = found[0]
            masks[weight] = probabilities[..., 1] > threshold
    print_table(HEADER, rows)
    if arguments.picture:
        _draw(arguments.picture, images, labels, masks)


@contextmanager
def _samples(data: Path | None, folder: Path) -> Iterator[tuple[Samples, Samples]]:
    paths = [folder / "train.h5", folder / "valid.h5"] if data is None else [data, data]
    keys = (
        [("images", "masks")] * 2
        if data is None
        else [("X_train", "y_train"), ("X_valid", "y_valid")]
    )
    if data is None:
        for seed, (path, n) in enumerate(zip(paths, (96, 24), strict=True)):
            images, labels = phantom_slices(n, 64, seed=seed)
            write_arrays(path, {"images": images, "masks": one_hot(labels)})
    training, validation = (
        open_samples(path, folder, images=names[0], masks=names[1], label=f"{kind} data")
        for path, names, kind in zip(paths, keys, ("training", "validation"), strict=True)
    )
    with training as train_samples, validation as valid_samples:
        yield train_samples, valid_samples


def _settings(weight: float, seed: int, arguments: argparse.Namespace) -> TrainingSettings:
    return TrainingSettings(
        loss="bce_tv",
        tv_weight=weight,
        epochs=arguments.epochs,
        base_filters=arguments.base_filters,
        learning_rate=arguments.learning_rate,
        seed=seed,
    )


def _predict(
    settings: TrainingSettings,
    training: Samples,
    validation: Samples,
    images: NDArray[np.float32],
) -> tuple[NDArray[np.float32], float]:
    """Return the probabilities of a trained model, and its threshold."""
    found = train(settings, training, validation)
    probabilities = np.asarray(found.model.predict(images, batch_size=16, verbose=0))
    return probabilities, found.best.val_best_threshold


def _measures(
    probabilities: NDArray[np.float32], threshold: float, labels: NDArray[np.uint8]
) -> tuple[float, ...]:
    from skimage.measure import label, perimeter

    histogram = ProbabilityHistogram(2)
    histogram.add(labels, probabilities)
    predicted, true = probabilities[..., 1] > threshold, labels > 0

    def ratio(measure: Callable[[NDArray[np.bool_]], float]) -> float:
        return sum(map(measure, predicted)) / sum(map(measure, true))

    return (
        histogram.mean_dice(threshold),
        float(total_variation(probabilities)),
        ratio(perimeter),
        ratio(lambda mask: float(label(mask).max())),
    )


def _cells(measures: NDArray[np.float64]) -> list[str]:
    """Return mean and standard deviation over the seeds of each measure."""
    spreads = measures.std(axis=0, ddof=1) if len(measures) > 1 else measures[0] * np.nan
    digits = (3, 4, 2, 2)
    columns = zip(measures.mean(axis=0), spreads, digits, strict=True)
    return [f"{mean:.{d}f} ± {spread:.{d}f}" for mean, spread, d in columns]


def _draw(
    path: Path,
    images: NDArray[np.float32],
    labels: NDArray[np.uint8],
    masks: Mapping[float, NDArray[np.bool_]],
) -> None:
    rows = np.argsort(labels.sum(axis=(1, 2)))[-PICTURED:]
    columns = {"image": images[..., 0], "true mask": labels > 0}
    columns |= {f"weight {weight:g}": predicted for weight, predicted in masks.items()}
    figure, axes = new_figure(
        len(rows), len(columns), width=1.6 * len(columns), height=1.7 * len(rows), images=True
    )
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=9)
    for line, row in zip(axes, rows, strict=True):
        for axis, shown in zip(line, columns.values(), strict=True):
            axis.imshow(shown[row], cmap="gray", interpolation="nearest")
    save_figure(figure, path)


if __name__ == "__main__":
    main()
