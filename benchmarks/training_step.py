"""Images per second of training: this package against the original system's own code.

The last column is how much of the rate at which this machine multiplies large matrices, in the same
numbers, the convolutions of a step use: 100 % would be a step that does nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import print_machine, print_table
from benchmarks.roofline import matrix_rate, training_operations
from gpulab.models.runtime import thread_count
from gpulab.testing import one_hot, phantom_slices
from gpulab.testing.datasets import write_arrays
from gpulab.unet.augment import STRENGTHS
from gpulab.unet.data import open_samples, training_batches
from gpulab.unet.fused import adam
from gpulab.unet.losses import make_loss
from gpulab.unet.network import Architecture, build_unet
from gpulab.unet.order import EpochOrder

HEADER = (
    "base filters",
    "code",
    "images per second",
    "against the original",
    "of the matrix rate",
)


def main() -> None:
    """Print a table for the wanted numbers of base filters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-filters", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    rates = {kind: matrix_rate(kind) for kind in ("float32", "bfloat16")}
    for kind, rate in rates.items():
        print(f"Products of matrices in {kind}: {rate / 1e9:.0f} · 10⁹ operations per second")
    rows = []
    for base in arguments.base_filters:
        print(f"base {base}", flush=True)
        speeds = _speeds(base, arguments)
        reference = speeds["the original's code"]
        operations = training_operations(Architecture(base_filters=base), arguments.size)
        for name, speed in speeds.items():
            rate = rates["bfloat16" if "bfloat16" in name else "float32"]
            share = f"{speed * operations / rate:.0%}"
            rows.append((base, name, f"{speed:.2f}", f"{speed / reference:.2f}", share))
    print_table(HEADER, rows)


def _speeds(base: int, arguments: argparse.Namespace) -> dict[str, float]:
    images, labels = phantom_slices(arguments.images, arguments.size, seed=1)
    epochs = {"the original's code": _original(base, images, labels, arguments)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.h5"
        write_arrays(path, {"images": images, "masks": one_hot(labels)})
        for name, policy, strength in (
            ("ours, float32, no augmentation", "float32", "none"),
            ("ours, float32, medium augmentation", "float32", "medium"),
            ("ours, mixed bfloat16, medium augmentation", "mixed_bfloat16", "medium"),
        ):
            epochs[name] = _ours(path, base, policy, strength, arguments)
        return _interleaved(epochs, arguments)


def _interleaved(
    epochs: dict[str, Callable[[], None]], arguments: argparse.Namespace
) -> dict[str, float]:
    """Time one epoch of each in turn and return the best of the repeats.

    What else runs on the machine then disturbs all alike.
    """
    best = dict.fromkeys(epochs, 0.0)
    for epoch in epochs.values():
        epoch()  # tracing
    for _ in range(arguments.repeats):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            epoch()
            best[name] = max(best[name], arguments.images / (time.perf_counter() - start))
    return best


def _original(base: int, images, labels, arguments: argparse.Namespace) -> Callable[[], None]:  # type: ignore[no-untyped-def]
    import keras

    from benchmarks.original import original_model

    keras.config.set_dtype_policy("float32")
    model = original_model(base, arguments.size)
    x, y = images.astype("float32"), one_hot(labels).astype("float32")
    return lambda: model.fit(x, y, batch_size=arguments.batch_size, verbose=0)


def _ours(
    path: Path, base: int, policy: str, strength: str, arguments: argparse.Namespace
) -> Callable[[], None]:
    import keras

    keras.config.set_dtype_policy(policy)
    architecture = Architecture(base_filters=base)
    model = build_unet(architecture)
    model.compile(adam(0.001), make_loss("bce"), jit_compile=False)

    def epoch() -> None:
        names = {"images": "images", "masks": "masks", "label": "training data"}
        with open_samples(path, path.parent, **names) as samples:
            order = EpochOrder(len(samples), arguments.batch_size, seed=0)
            batches = training_batches(
                samples, order, STRENGTHS[strength], architecture.spatial_multiple, thread_count()
            )
            model.fit(batches, shuffle=False, verbose=0)

    return epoch


if __name__ == "__main__":
    main()
