"""Dice on held-out slices with trusted masks, for variants of the training settings.

The file holds images, masks and groups. Groups of one slice are taken as the trusted ones (in the
COVID-SemiSeg file: the slices that doctors labelled): they are dealt into folds, near-duplicates
together. Each run trains on everything outside its fold, a tenth of it kept for validation at
random, and is scored on its fold, so that every trusted slice is predicted once for each seed by a
model that has not seen it. Finished runs are kept in the results folder and are not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import print_table
from benchmarks.quality_folds import write_folds
from benchmarks.quality_original import train_original
from benchmarks.quality_scores import HEADER, Result, row, score
from gpulab.unet.data import Samples, open_samples
from gpulab.unet.settings import TrainingSettings

ORIGINAL = "original"  # the original system's network and training, whatever the settings
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    ORIGINAL: {},
    "even": {"sampling": "even"},
    "rare": {"sampling": "rare"},
    "foreground": {"sampling": "foreground"},
    "groups": {"sampling": "groups"},
    "no augmentation": {"augmentation": "none"},
    "light": {"augmentation": "light"},
    "medium": {"augmentation": "medium"},
    "strong": {"augmentation": "strong"},
    "rate 0.001": {"learning_rate": 0.001},
    "rate 0.01": {"learning_rate": 0.01},
    "turns": {"turns": True},
    "each image scaled": {"scaling": "image"},
    "average of weights": {"average": 0.99},
    "no average": {"average": 0.0},
    "BCE": {"loss": "bce"},
    "focal": {"loss": "focal"},
    "no dropout": {"dropout": 0.0},
    "batch 16": {"batch_size": 16},
}


@dataclass(frozen=True)
class Run:
    """One training: a variant of the settings, a fold and a seed."""

    variant: str
    settings: Mapping[str, Any]
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its file in the results folder, without the suffix."""
        return f"{self.variant.replace(' ', '_')}-{self.fold}-{self.seed}"


def main() -> None:
    """Train what is missing and print one row a variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--variants", nargs="+", default=["defaults"], help=", ".join(VARIANTS))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="for all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--smaller", type=int, default=1, help="divide height and width by this")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=600)
    arguments = parser.parse_args()
    common = dict(read_setting(text) for text in arguments.set)
    runs = [
        Run(name, {**common, **_variant(name)}, fold, seed)
        for seed in range(arguments.seeds)
        for name in arguments.variants
        for fold in range(arguments.folds)
    ]
    arguments.results.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Told to end"))
    with tempfile.TemporaryDirectory() as folder:
        write_folds(arguments.file, Path(folder), arguments.folds, arguments.smaller)
        _run_missing(runs, Path(folder), arguments)
    rows = []
    for name in arguments.variants:
        found = {(r.fold, r.seed): _load(r, arguments.results) for r in runs if r.variant == name}
        kept = {key: result for key, result in found.items() if result is not None}
        rows.append(row(name, kept, arguments.folds))
    print_table(HEADER, rows)


def _variant(name: str) -> dict[str, Any]:
    """Return the settings of a variant, or of several joined by " + "."""
    return {key: value for part in name.split(" + ") for key, value in VARIANTS[part].items()}


def read_setting(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE of the command line as a field of `TrainingSettings`."""
    name, _, value = text.partition("=")
    default = getattr(TrainingSettings(), name)
    if isinstance(default, bool):
        return name, {"true": True, "false": False}[value.lower()]
    return name, type(default)(value)


def _load(run: Run, results: Path) -> Result | None:
    path = results / f"{run.name}.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _run_missing(runs: list[Run], folder: Path, arguments: argparse.Namespace) -> None:
    """Run each in a process of its own until the time is up."""
    end = time.monotonic() + arguments.minutes * 60
    missing = [run for run in runs if _load(run, arguments.results) is None]
    pool = ProcessPoolExecutor(
        arguments.workers, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    waiting = {pool.submit(_quiet, run, folder): run for run in missing}
    try:
        for future in as_completed(waiting, timeout=arguments.minutes * 60):
            run, result = waiting[future], future.result()
            np.savez(arguments.results / f"{run.name}.npz", **result)
            print(
                f"{run.name:36} Dice {score([result], 'plain')[0]:.3f}, with flips "
                f"{score([result], 'flip')[0]:.3f}, validation {result['validation']:.3f}, "
                f"epoch {result['best_epoch']}, {result['seconds'] / 60:.1f} min, "
                f"{(end - time.monotonic()) / 60:.0f} min left",
                flush=True,
            )
    except TimeoutError:
        print("Time is up", flush=True)
    finally:
        # Training takes SIGTERM as a request to finish in order.
        for process in list(pool._processes.values()):
            process.kill()
        pool.shutdown(cancel_futures=True)


def _quiet(run: Run, folder: Path) -> Result:
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        return train_and_predict(run, folder)


def train_and_predict(run: Run, folder: Path) -> Result:
    """Train one run and predict its fold, as it is and mirrored."""
    from gpulab.models.runtime import thread_count
    from gpulab.unet.device import limit_threads
    from gpulab.unet.parallel import predict

    start = time.perf_counter()
    limit_threads(thread_count())
    settings = TrainingSettings(**{**run.settings, "seed": run.seed})
    scratch = Path(tempfile.mkdtemp(dir=folder))

    def samples(part: str) -> Any:
        path = folder / f"{run.fold}_{part}.h5"
        return open_samples(path, scratch, images="images", masks="masks", label=f"{part} data")

    with samples("train") as training, samples("valid") as validation, samples("test") as test:
        if run.variant == ORIGINAL:
            model, chosen = train_original(training, validation, run.seed)
        else:
            model, chosen = _train_ours(settings, training, validation)
        images, truth = test.read(np.arange(len(test)))
    plain = predict(model, images)[..., 1]
    mirrored = predict(model, images[:, :, ::-1])[:, :, ::-1, 1]
    return {
        "truth": truth.astype(bool),
        "plain": plain.astype(np.float16),
        "flip": ((plain + mirrored) / 2).astype(np.float16),
        "seconds": time.perf_counter() - start,
        **chosen,
    }


def _train_ours(
    settings: TrainingSettings, training: Samples, validation: Samples
) -> tuple[Any, dict[str, Any]]:
    from gpulab.unet.train import train

    trained = train(settings, training, validation)
    return trained.model, {
        "threshold": trained.best.val_best_threshold,
        "temperature": trained.temperature,
        "sure_dice": trained.sure_dice,
        "best_epoch": trained.best_epoch,
        "validation": trained.best.val_best_dice,
    }


if __name__ == "__main__":
    main()
