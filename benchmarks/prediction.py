"""Images per second of ONNX Runtime against Keras `predict`, and how far their results differ."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import print_machine, print_table
from gpulab.models.metadata import ModelMetadata
from gpulab.models.runtime import thread_count
from gpulab.testing import phantom_slices
from gpulab.unet.export import export_onnx
from gpulab.unet.network import Architecture, build_unet


def main() -> None:
    """Print a table for the wanted numbers of base filters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-filters", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    rows = [_row(base, arguments) for base in arguments.base_filters]
    print_table(
        (
            "base filters",
            "Keras predict, images/s",
            "ONNX Runtime, images/s",
            "ratio",
            "largest difference",
        ),
        rows,
    )


def _row(base: int, arguments: argparse.Namespace) -> tuple[object, ...]:
    import keras
    import onnxruntime

    keras.utils.set_random_seed(0)
    images = phantom_slices(arguments.images, arguments.size, seed=1)[0].astype(np.float32)
    architecture = Architecture(base_filters=base)
    model = build_unet(architecture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        difference = export_onnx(model, architecture, ModelMetadata(), images, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def with_keras() -> None:
        model.predict(images, batch_size=arguments.batch_size, verbose=0)

    def with_onnx() -> None:
        for start in range(0, len(images), arguments.batch_size):
            session.run(None, {"img": images[start : start + arguments.batch_size]})

    best = {"keras": 0.0, "onnx": 0.0}
    for _ in range(arguments.repeats + 1):  # the first is the warm-up, and never the best
        for name, predict in (("keras", with_keras), ("onnx", with_onnx)):
            start = time.perf_counter()
            predict()
            best[name] = max(best[name], len(images) / (time.perf_counter() - start))
    return (
        base,
        f"{best['keras']:.1f}",
        f"{best['onnx']:.1f}",
        f"{best['onnx'] / best['keras']:.2f}",
        f"{difference:.1e}",
    )


if __name__ == "__main__":
    main()
