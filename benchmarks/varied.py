"""Dice of untouched training settings on drawn data of many kinds, beside what must be beaten.

Each kind (`gpulab.testing.varied`) is written to HDF5 files and trained on; the scores are those of
its test part, pooled and averaged over the foreground classes, at the model's own threshold.
`--steps` trains each kind several times, each time with a whole plan of about so many steps, which
tells how many are enough. Give `GALAXY_SLOTS` to say how many threads to use.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import print_machine, print_table
from benchmarks.quality import read_setting
from gpulab.testing.datasets import write_arrays
from gpulab.testing.floors import everything_dice, grey_band_dice
from gpulab.testing.varied import KINDS
from gpulab.unet.data import Samples, open_samples
from gpulab.unet.settings import TrainingSettings

HEADER = ("kind", "seed", "Dice", "everything", "grey band", "epochs", "steps", "minutes")


def main() -> None:
    """Print one row a kind, seed and number of steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="+", choices=KINDS, default=list(KINDS), metavar="NAME")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings")
    parser.add_argument("--steps", type=int, nargs="+", help="set the epochs to about these steps")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    settings = TrainingSettings(**dict(read_setting(text) for text in arguments.set))
    print_machine()
    print_table(HEADER, _rows(arguments, settings))


def _rows(arguments: argparse.Namespace, settings: TrainingSettings) -> Iterator[list[object]]:
    from gpulab.models.runtime import thread_count
    from gpulab.unet.device import limit_threads

    limit_threads(thread_count())
    for name in arguments.names:
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
                parts = [
                    stack.enter_context(samples)
                    for samples in write_and_open(name, seed, Path(folder))
                ]
                for steps in arguments.steps or [None]:
                    chosen = dataclasses.replace(settings, seed=seed)
                    if steps is not None:
                        epochs = max(1, round(steps / _epoch_steps(settings, parts[0])))
                        chosen = dataclasses.replace(chosen, epochs=epochs)
                    yield [name, seed, *train_and_score(chosen, *parts)]


def write_and_open(name: str, seed: int, folder: Path) -> Iterator[Any]:
    """Yield the opened training, validation and test part of a kind, drawn from a seed."""
    for part, arrays in KINDS[name](seed).items():
        path = folder / f"{part}.h5"
        write_arrays(path, arrays)
        yield open_samples(path, folder, images="images", masks="masks", label=f"{part} data")


def _epoch_steps(settings: TrainingSettings, training: Samples) -> int:
    return -(-len(training) // settings.batch_size)


def train_and_score(
    settings: TrainingSettings, training: Samples, validation: Samples, test: Samples
) -> list[object]:
    """Return the cells of a row: the scores on the test part, and what the training took."""
    from gpulab.unet.losses import make_loss
    from gpulab.unet.progress import evaluate
    from gpulab.unet.train import train

    start = time.perf_counter()
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        trained = train(settings, training, validation)
    if trained.cut_short:  # training ends in order when told to stop, with a score that misleads
        raise SystemExit("Told to stop")
    minutes = (time.perf_counter() - start) / 60
    multiple = trained.architecture.spatial_multiple
    _, counted = evaluate(
        trained.model, test, make_loss(settings.loss), settings.batch_size, multiple
    )
    images, labels = test.read(np.arange(len(test)))
    epochs = len(trained.records)
    return [
        f"{counted.mean_dice(trained.best.val_best_threshold):.3f}",
        f"{everything_dice(labels, test.classes):.3f}",
        f"{grey_band_dice(images, labels, test.classes):.3f}",
        epochs,
        epochs * _epoch_steps(settings, training),
        f"{minutes:.1f}",
    ]


if __name__ == "__main__":
    main()
