"""Images per second of ways to predict: Keras, the original's, ours, and OpenVINO.

OpenVINO, and onnx-tf with which the original predicted, are in none of our environments. Each is
measured when its Python is named, or when our own can import it; for instance

    uv venv /tmp/openvino && uv pip install --python /tmp/openvino openvino numpy
    uv venv --python 3.11 /tmp/original && uv pip install --python /tmp/original \
        tensorflow-cpu==2.15.0 onnx==1.15.0 onnx-tf==1.10.0 tensorflow-probability==0.23.0 \
        tensorflow-addons==0.23.0 'numpy<2' 'setuptools<81'
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.common import ROOT, print_machine, print_table
from gpulab.models.metadata import ModelMetadata
from gpulab.models.runtime import thread_count
from gpulab.testing import phantom_slices
from gpulab.unet.export import export_onnx
from gpulab.unet.network import VARIANCE_FLOOR, Architecture, build_unet

NAMES = {
    "keras": "Keras `predict`",
    "onnx_tf": "the original's way, onnx-tf",
    "onnxruntime": "ours, ONNX Runtime",
    "openvino": "OpenVINO, float32",
    "openvino_default": "OpenVINO, as it comes",
}
REFERENCE = "keras"
ORIGINAL_OPSET = 14  # the notebook's, and onnx-tf knows none above 16
HEADER = (
    "base filters",
    "batch",
    "way",
    "images per second",
    "against Keras",
    "largest difference",
    "from start to first masks, s",
)


def main() -> None:
    """Print a table for the wanted numbers of base filters and batch sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base-filters", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--openvino-python", default=sys.executable)
    parser.add_argument("--onnx-tf-python", default=sys.executable)
    arguments = parser.parse_args()
    print_machine()
    pythons = _pythons(arguments)
    rows = [row for base in arguments.base_filters for row in _rows(base, pythons, arguments)]
    print_table(HEADER, rows)


def _pythons(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the ways that can be measured here, and the Python of each."""
    pythons = dict.fromkeys(NAMES, sys.executable)
    for module, python in (
        ("onnx_tf", arguments.onnx_tf_python),
        ("openvino", arguments.openvino_python),
    ):
        mine = [way for way in NAMES if way.startswith(module)]
        code = f"import {module}"
        if subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL).returncode:
            print(f"{module} cannot be imported by {Path(python).name}, so it is left out (--help)")
            for way in mine:
                del pythons[way]
        else:
            pythons |= dict.fromkeys(mine, python)
    return pythons


def _rows(
    base: int, pythons: dict[str, str], arguments: argparse.Namespace
) -> Iterator[tuple[object, ...]]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        _write_models(folder, base, arguments)
        workers = {
            way: stack.enter_context(_running(way, python, folder, base))
            for way, python in pythons.items()
        }
        truth = np.load(folder / f"{REFERENCE}.npy")
        different = {
            way: float(np.abs(np.load(folder / f"{way}.npy") - truth).max()) for way in workers
        }
        for batch in arguments.batch_sizes:
            best = dict.fromkeys(workers, 0.0)
            for _ in range(arguments.repeats):
                for way, worker in workers.items():
                    best[way] = max(best[way], arguments.images / worker.seconds(batch))
            for way, speed in best.items():
                yield (
                    base,
                    batch,
                    NAMES[way],
                    f"{speed:.1f}",
                    f"{speed / best[REFERENCE]:.2f}",
                    f"{different[way]:.1e}",
                    f"{workers[way].start_seconds:.1f}",
                )


def _write_models(folder: Path, base: int, arguments: argparse.Namespace) -> None:
    """Write the same network for all: weights for Keras, our ONNX, and the original's."""
    import keras

    from benchmarks.original import original_model

    keras.utils.set_random_seed(0)
    images = phantom_slices(arguments.images, arguments.size, seed=1)[0].astype(np.float32)
    np.save(folder / "images.npy", images)
    architecture = Architecture(base_filters=base)
    model = build_unet(architecture)
    model.save_weights(folder / "model.weights.h5")
    metadata = ModelMetadata(spatial_multiple=architecture.spatial_multiple)
    export_onnx(model, architecture, metadata, images, folder / "model.onnx")
    # What scaling our graph holds, which the original's does not.
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    variance = np.square(centred).mean(axis=(1, 2, 3), keepdims=True)
    scaled = centred / np.sqrt(variance + VARIANCE_FLOOR)
    np.save(folder / "scaled_images.npy", scaled)
    original = original_model(base, arguments.size)
    original.set_weights(model.get_weights())
    original.predict_on_batch(scaled[:1])  # Keras exports only models that were called
    with contextlib.redirect_stdout(io.StringIO()):
        path = folder / "original.onnx"
        original.export(path, format="onnx", opset_version=ORIGINAL_OPSET, verbose=False)


class _Worker:
    """A running `benchmarks/prediction_worker.py`; it is idle until it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.start_seconds = self._answer()

    def seconds(self, batch: int) -> float:
        """Return the seconds of all images in batches of this size."""
        assert self._process.stdin
        print(batch, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("A way to predict failed, see above")
        return float(line)


@contextmanager
def _running(way: str, python: str, folder: Path, base: int) -> Iterator[_Worker]:
    threads = thread_count()
    command = [python, str(ROOT / "benchmarks/prediction_worker.py"), way, str(folder)]
    command += ["--threads", str(threads), "--base-filters", str(base)]
    command += ["--started", str(time.time())]
    env = os.environ | {"GALAXY_SLOTS": str(threads)}
    if python == sys.executable:
        env["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            yield _Worker(process)
        finally:
            assert process.stdin
            process.stdin.close()


if __name__ == "__main__":
    main()
