"""Time and memory of the segmentation tools by the size of their inputs, for rules of job routing.

Each row is one run of the tool's own script in a process of its own. Processor seconds count what
other work on the machine does not disturb; on a machine with a graphics card look at the seconds.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import (
    SPLIT,
    ToolRun,
    print_machine,
    print_table,
    run_tool,
    split_form,
)
from gpulab.testing import one_hot, phantom_slices
from gpulab.testing.datasets import write_arrays
from gpulab.testing.forms import build_form
from gpulab.testing.images import nifti_bytes, save_picture

EPOCHS = 2
BUILD = "tools/h5_dataset/h5_dataset_build.py"
TRAIN, PREDICT = "tools/unet_train/unet_train.py", "tools/unet_predict/unet_predict.py"


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "data": print_data,
        "train": print_training,
        "predict": print_prediction,
    }
    parser.add_argument("what", choices=commands)
    parser.add_argument("--filters", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--steps", type=int, default=2, help="steps of an epoch, or batches")
    parser.add_argument(
        "--precision", default="float32", help="as in the form: auto, float32, bfloat16, float16"
    )
    arguments = parser.parse_args()
    print_machine()
    commands[arguments.what](arguments)


def print_training(arguments: argparse.Namespace) -> None:
    """Print a row for each network, size of images and batch."""
    header = ("base filters", "pixels", "batch", "images", "seconds", "processor seconds", "MiB")
    rows = []
    for filters, size, batch in _grid(arguments):
        with tempfile.TemporaryDirectory() as name:
            rows.append(_train(Path(name), filters, size, batch, arguments))
        print("|", " | ".join(map(str, rows[-1])), "|", flush=True)
    print()
    print_table(header, rows)


def print_prediction(arguments: argparse.Namespace) -> None:
    """Print a row for each network, size of images and batch; the networks are untrained."""
    header = ("base filters", "pixels", "batch", "images", "seconds", "processor seconds", "MiB")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for filters, size, batch in _grid(arguments):
            model = folder / f"{filters}.onnx"
            if not model.exists():
                _export(model, filters)
            images = batch * arguments.steps
            _write_part(folder / "part.h5", images, size)
            run = run_tool(folder, PREDICT, predict_form(model, folder / "part.h5", batch))
            rows.append((filters, size, batch, images, *_figures(run)))
    print_table(header, rows)


def print_data(arguments: argparse.Namespace) -> None:
    """Print rows of building from pictures and from volumes, and of splitting what was built."""
    del arguments
    header = ("tool", "input", "MiB of input", "seconds", "processor seconds", "MiB")
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count, size in ((100, 512), (1000, 512)):
            files = pictures(folder, count, size)
            rows.append(_build(folder, f"{count} pictures {size} × {size}", files))
            rows.append(_split(folder, f"of {count} pictures"))
        for depth in (100, 400):
            files = _volume(folder, depth)
            rows.append(_build(folder, f"a volume 512 × 512 × {depth}", files))
    print_table(header, rows)


def _grid(arguments: argparse.Namespace) -> list[tuple[int, int, int]]:
    return list(itertools.product(arguments.filters, arguments.sizes, arguments.batches))


def _write_part(path: Path, samples: int, size: int) -> None:
    images, labels = phantom_slices(samples, size, seed=1)
    write_arrays(path, {"images": images, "masks": one_hot(labels)})


def _train(
    folder: Path, filters: int, size: int, batch: int, arguments: argparse.Namespace
) -> tuple[object, ...]:
    samples = batch * arguments.steps
    _write_part(folder / "train.h5", samples, size)
    _write_part(folder / "valid.h5", 2, size)
    form = {
        "training": str(folder / "train.h5"),
        "validation": str(folder / "valid.h5"),
        "network": {"base_filters": filters},
        "optimiser": {
            "epochs": EPOCHS,
            "batch_size": batch,
            "precision": arguments.precision,
        },
    }
    run = run_tool(folder, TRAIN, form)
    return filters, size, batch, EPOCHS * samples, *_figures(run)


def _figures(run: ToolRun) -> tuple[str, str, str]:
    return f"{run.seconds:.1f}", f"{run.processor_seconds:.1f}", f"{run.mib:.0f}"


def _export(path: Path, filters: int) -> None:
    from gpulab.models.metadata import ModelMetadata
    from gpulab.unet.export import export_onnx
    from gpulab.unet.network import Architecture, build_unet

    architecture = Architecture(base_filters=filters)
    images = phantom_slices(2, 64, seed=1)[0].astype(np.float32)
    metadata = ModelMetadata(spatial_multiple=architecture.spatial_multiple)
    export_onnx(build_unet(architecture), architecture, metadata, images, path)


def predict_form(model: Path, part: Path, batch: int) -> dict[str, object]:
    """Return the form of unet_predict as it is untouched, for a model and a part with masks."""
    return {
        "models": [{"element_identifier": model.name, "source_path": str(model)}],
        "images": {
            "kind": "h5",
            "image_file": {"source_path": str(part)},
            "images_name": "images",
            "truth": {"known": "yes", "masks_name": "masks"},
        },
        "thresholds": "",
        "fitting": {"mode": "auto", "tile": 512, "overlap": 0.25, "batch": batch},
        "reading": {"layout": "auto", "activation": "auto"},
        "drawing": {"rows": 5, "samples": "", "overlays": 12, "image_title": "", "seed": 42},
        "outputs": ["figure", "overlay", "threshold_curve", "report"],
        "probabilities": "no",
    }


def pictures(folder: Path, count: int, size: int) -> dict[str, list[dict[str, str]]]:
    """Write pictures of 32 phantoms and their masks; the names differ."""
    images, labels = phantom_slices(32, size, seed=1)
    files: dict[str, list[dict[str, str]]] = {"images": [], "masks": []}
    for kind, arrays in (("images", images[..., 0]), ("masks", labels * 255)):
        for index in range(count):
            path = folder / f"{kind}_{index}.png"
            save_picture(path, arrays[index % 32])
            files[kind].append({"identifier": f"slice_{index}", "path": str(path)})
    return files


def _volume(folder: Path, depth: int) -> dict[str, list[dict[str, str]]]:
    images, labels = phantom_slices(16, 512, seed=1)
    repeated = np.resize(np.arange(16), depth)
    files = {}
    for kind, arrays in (("images", images[..., 0].astype(np.int16)), ("masks", labels)):
        path = folder / f"{kind}.nii"
        path.write_bytes(nifti_bytes(arrays[repeated]))
        files[kind] = [{"identifier": "patient", "path": str(path)}]
    return files


def _build(folder: Path, name: str, files: dict[str, list[dict[str, str]]]) -> tuple[object, ...]:
    run = run_tool(folder, BUILD, build_form(), {"files": {**files, "group_table": None}})
    size = sum(Path(one["path"]).stat().st_size for kind in files.values() for one in kind)
    return "h5_dataset_build", name, f"{size / 2**20:.0f}", *_figures(run)


def _split(folder: Path, name: str) -> tuple[object, ...]:
    path = folder / "built.h5"
    (folder / "outputs" / "dataset.h5").replace(path)
    run = run_tool(folder, SPLIT, split_form(path))
    size = path.stat().st_size / 2**20
    return "h5_dataset_split", name, f"{size:.0f}", *_figures(run)


if __name__ == "__main__":
    main()
