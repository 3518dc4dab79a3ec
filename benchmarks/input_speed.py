"""What an epoch from a compressed HDF5 file costs against the same arrays in memory.

The first table takes each way of feeding in turns, with and without augmentation. Its last column
is the goal: at most 1.05. The second tells what preparing one batch costs a single thread, which
the others of the job do meanwhile.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import print_machine, print_table
from gpulab.models.runtime import thread_count
from gpulab.testing import one_hot, phantom_slices
from gpulab.unet.augment import STRENGTHS
from gpulab.unet.data import Samples, open_samples, training_batches
from gpulab.unet.fused import adam
from gpulab.unet.losses import make_loss
from gpulab.unet.network import Architecture, build_unet
from gpulab.unet.order import EpochOrder

NAMES = {"images": "images", "masks": "masks", "label": "training data"}
CHUNK = 16  # samples compressed together
DISTINCT = 64  # phantoms; more samples repeat them


@dataclass(frozen=True)
class InMemory:
    """The same interface as `Samples` on arrays, float32 (n, h, w, 1) and uint8 (n, h, w)."""

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    classes: int = 2

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return images and labels of these samples."""
        return self.images[indices], self.labels[indices]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[128, 1024], help="file sizes")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--base-filters", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=16, help="steps that a repeat takes")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print_machine()
    epochs, batches = [], []
    for images in arguments.images:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "part.h5"
            memory = _write(path, images, arguments.size)
            start = time.perf_counter()
            with open_samples(path, path.parent, **NAMES) as disk:
                copied = time.perf_counter() - start
                epochs += _epochs(disk, memory, copied, arguments)
                batches += _batches(disk, memory, arguments)
    header = ("samples", "augmentation", "memory, images/s", "disk, images/s", "disk takes")
    print_table((*header, "copying once, s"), epochs)
    print_table(("samples", "augmentation", "memory, ms a batch", "disk, ms a batch"), batches)


def _write(path: Path, samples: int, size: int) -> InMemory:
    images, labels = phantom_slices(DISTINCT, size, seed=1)
    chosen = np.resize(np.arange(DISTINCT), samples)
    with h5py.File(path, "w") as file:
        for name, array in (("images", images), ("masks", one_hot(labels))):
            chunks = (min(CHUNK, samples), size, size, array.shape[-1])
            file.create_dataset(name, data=array[chosen], chunks=chunks, compression="gzip")
    return InMemory(images[chosen].astype(np.float32), labels[chosen])


def _epochs(
    disk: Samples, memory: InMemory, copied: float, arguments: argparse.Namespace
) -> list[tuple[object, ...]]:
    """Time equal numbers of steps of each way in turns on the same network."""
    import keras

    keras.config.set_dtype_policy("float32")
    model = build_unet(Architecture(base_filters=arguments.base_filters))
    model.compile(adam(0.001), make_loss("bce"), jit_compile=False)
    ways = {
        (source, strength): _feeding(samples, strength, arguments)
        for strength in ("none", "medium")
        for source, samples in (("memory", memory), ("disk", disk))
    }

    def fit(batches: Callable[[], Any]) -> float:
        start = time.perf_counter()
        data = batches()
        steps = min(arguments.steps, len(data))
        model.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0)
        return time.perf_counter() - start

    best = best_seconds({way: partial(fit, batches) for way, batches in ways.items()}, arguments)
    images = min(arguments.steps * arguments.batch_size, len(memory))
    return [
        (
            len(memory),
            strength,
            f"{images / best['memory', strength]:.1f}",
            f"{images / best['disk', strength]:.1f}",
            f"{best['disk', strength] / best['memory', strength]:.3f}",
            f"{copied:.1f}",
        )
        for strength in ("none", "medium")
    ]


def _feeding(samples: Any, strength: str, arguments: argparse.Namespace) -> Callable[[], Any]:
    def batches() -> Any:
        order = EpochOrder(len(samples), arguments.batch_size, seed=0)
        return training_batches(samples, order, STRENGTHS[strength], 16, thread_count())

    return batches


def _batches(
    disk: Samples, memory: InMemory, arguments: argparse.Namespace
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for strength in ("none", "light", "medium", "strong"):

        def prepare(samples: Any, chosen: str = strength) -> float:
            batches = _feeding(samples, chosen, arguments)()
            steps = min(int(arguments.steps), len(batches))
            start = time.perf_counter()
            for index in range(steps):
                batches[index]
            return (time.perf_counter() - start) / steps

        ways = {"memory": lambda: prepare(memory), "disk": lambda: prepare(disk)}
        best = best_seconds(ways, arguments)
        rows.append(
            (len(memory), strength, *(f"{1000 * best[way]:.1f}" for way in ("memory", "disk")))
        )
    return rows


def best_seconds(
    ways: dict[Any, Callable[[], float]], arguments: argparse.Namespace
) -> dict[Any, float]:
    """Run all in turns, the first time to warm up, and return the least seconds of each."""
    for run in ways.values():
        run()
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(arguments.repeats):
        for way, run in ways.items():
            best[way] = min(best[way], run())
    return best


if __name__ == "__main__":
    main()
