"""Peak memory of h5_dataset_split and unet_train for a file ten times as large as another."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy as np

from benchmarks.common import SPLIT, print_machine, print_table, run_tool, split_form
from gpulab.report.facts import MEBIBYTE
from gpulab.testing import one_hot, phantom_slices

BLOCK = 64


def main() -> None:
    """Print a table of both tools and both sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256, help="samples of the smaller file")
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    print_machine()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks: dict[str, list[float]] = {"h5_dataset_split": [], "unet_train": []}
        sizes = []
        for factor in (1, 10):
            path = folder / f"x{factor}.h5"
            _write(path, arguments.samples * factor, arguments.size)
            sizes.append(path.stat().st_size / MEBIBYTE)
            peaks["h5_dataset_split"].append(run_tool(folder, SPLIT, split_form(path)).mib)
            peaks["unet_train"].append(run_tool(folder, *_train(path)).mib)
        for tool, (small, large) in peaks.items():
            rows.append((tool, f"{small:.0f}", f"{large:.0f}", f"{large / small:.2f}"))
    print_table(
        ("tool", f"MiB, {sizes[0]:.0f} MiB file", f"MiB, {sizes[1]:.0f} MiB file", "ratio"), rows
    )


def _write(path: Path, samples: int, size: int) -> None:
    """Write float32 parts, contiguous and uncompressed like the original's file, in blocks."""
    images, labels = phantom_slices(BLOCK, size, seed=3)
    masks = one_hot(labels).astype(np.float32)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("images", (samples, size, size, 1), np.float32)
        y = file.create_dataset("masks", (samples, size, size, 2), np.float32)
        for start in range(0, samples, BLOCK):
            x[start : start + BLOCK] = (
                images.astype(np.float32) + start
            )  # no two samples are the same
            y[start : start + BLOCK] = masks


def _train(path: Path) -> tuple[str, dict[str, object]]:
    # One short epoch: memory is what counts, and every sample is read.
    return "tools/unet_train/unet_train.py", {
        "training": str(path),
        "validation": str(path),
        "network": {"base_filters": 2, "depth": 1},
        "optimiser": {"epochs": 1, "batch_size": 16},
    }


if __name__ == "__main__":
    main()
