"""One way to predict, in a process of its own: started by `benchmarks.prediction`.

It needs no more than NumPy and the library that it measures, so that it also runs in another
environment than ours. It loads its model, predicts all images once, saves what came out and says
how long all that took since it was started. Then each line it reads is a batch size, and it answers
with the seconds that all images took in batches of that size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[Any, int], Any]  # images and batch size to probabilities


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("folder", type=Path, help="with the models and images")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--base-filters", type=int, required=True)
    parser.add_argument("--started", type=float, required=True, help="seconds since the epoch")
    arguments = parser.parse_args()
    # Libraries talk on standard output, which is for the answers alone.
    answers, sys.stdout = sys.stdout, sys.stderr
    # The original's model holds no scaling.
    name = "scaled_images.npy" if arguments.way == "onnx_tf" else "images.npy"
    images = np.load(arguments.folder / name)
    predict = WAYS[arguments.way](arguments)
    first = predict(images, len(images))
    np.save(arguments.folder / f"{arguments.way}.npy", first)
    print(time.time() - arguments.started, file=answers, flush=True)
    for line in sys.stdin:
        size = int(line)
        predict(images[:size], size)  # what a library does for a new shape is not counted
        start = time.perf_counter()
        predict(images, size)
        print(time.perf_counter() - start, file=answers, flush=True)


def _keras(arguments: argparse.Namespace) -> Predict:
    from gpulab.unet.device import limit_threads
    from gpulab.unet.network import Architecture, build_unet

    limit_threads(arguments.threads)
    model = build_unet(Architecture(base_filters=arguments.base_filters))
    model.load_weights(arguments.folder / "model.weights.h5")
    return lambda images, size: model.predict(images, batch_size=size, verbose=0)


def _onnxruntime(arguments: argparse.Namespace) -> Predict:
    from gpulab.models.session import open_model

    model = open_model(arguments.folder / "model.onnx", "model", channels=1, gpu=False)
    return _in_batches(model.predict)


def _onnx_tf(arguments: argparse.Namespace) -> Predict:
    """Do as the original's notebook did; TensorFlow takes all processors, as it did there."""
    import onnx
    from onnx_tf.backend import prepare

    loaded = prepare(onnx.load(arguments.folder / "original.onnx"))
    return _in_batches(lambda images: np.array(loaded.run(images, training=False))[0])


def _openvino(arguments: argparse.Namespace, **settings: str) -> Predict:
    import openvino

    core = openvino.Core()
    compiled: dict[int, Any] = {}

    def predict(images: Any) -> Any:
        count = len(images)
        if count not in compiled:  # sizes are fixed: its best case
            model = core.read_model(arguments.folder / "model.onnx")
            model.reshape(list(images.shape))
            settings["INFERENCE_NUM_THREADS"] = str(arguments.threads)
            compiled[count] = core.compile_model(model, "CPU", settings)
        return next(iter(compiled[count](images).values())).copy()

    return _in_batches(predict)


def _openvino_float32(arguments: argparse.Namespace) -> Predict:
    return _openvino(arguments, INFERENCE_PRECISION_HINT="f32")


def _in_batches(predict: Callable[[Any], Any]) -> Predict:
    def run(images: Any, size: int) -> Any:
        parts = [predict(images[start : start + size]) for start in range(0, len(images), size)]
        return np.concatenate(parts)

    return run


WAYS: dict[str, Callable[[argparse.Namespace], Predict]] = {
    "keras": _keras,
    "onnx_tf": _onnx_tf,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino_float32,
    "openvino_default": _openvino,
}


if __name__ == "__main__":
    main()
