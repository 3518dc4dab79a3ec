"""The `unet_train` tool: from parameters to model, history, curves, report and weights."""

from __future__ import annotations

import csv
import hashlib
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpulab.jobs import OutputFolder
from gpulab.models.metadata import ModelMetadata
from gpulab.models.runtime import thread_count
from gpulab.report.facts import RunClock, versions
from gpulab.report.markdown import Report
from gpulab.unet.augment import augmentation_for
from gpulab.unet.data import Samples, open_samples
from gpulab.unet.settings import (
    TrainingInputs,
    TrainingSettings,
    inputs_from_params,
    settings_from_params,
)

if TYPE_CHECKING:
    from gpulab.unet.train import TrainedModel

PACKAGES = ("keras", "tensorflow-cpu", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy")
LOSS_NAMES = {
    "bce": "BCE",
    "bce_tv": "BCE + TV",
    "dice": "Dice",
    "bce_dice": "BCE + Dice",
    "focal": "focal",
}
SAMPLES_TO_COMPARE = 4


def train_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Train a U-Net on images and masks and export its best epoch as ONNX.

    Args:
        params: The form: `training`, `validation`, optional `weights`, the sections `names`,
            `network`, `loss`, `optimiser`, and `outputs`, the names of additional ones.
        outputs: Receives model.onnx, history.tabular, curves.png, report.md, weights.safetensors,
            and model_float16.onnx if `outputs` names "float16".

    Raises:
        InputError: Settings or files cannot be used.
    """
    clock = RunClock()
    settings, inputs = settings_from_params(params), inputs_from_params(params)
    half = "float16" in (params.get("outputs") or ())
    with ExitStack() as stack:
        print("Reading and checking the training and validation data")

        training, validation = (
            stack.enter_context(
                open_samples(path, outputs.path, label=f"{kind} data", **asdict(names))
            )
            for kind, path, names in (
                ("training", inputs.training, inputs.training_names),
                ("validation", inputs.validation, inputs.validation_names),
            )
        )
        run_training(settings, inputs, training, validation, outputs, clock, half=half)


def run_training(
    settings: TrainingSettings,
    inputs: TrainingInputs,
    training: Samples,
    validation: Samples,
    outputs: OutputFolder,
    clock: RunClock,
    *,
    half: bool = False,
) -> None:
    """Train, export and write every output; arguments as in `train_job`.

    `half` asks for the model in 16 bits as well.
    """
    from gpulab.unet.start import import_keras_alone

    import_keras_alone()
    from gpulab.unet.train import architecture_for, check_fit, train
    from gpulab.unet.weights import read_weights, save_weights

    check_fit(training, validation)
    weights = None
    if inputs.weights is not None:
        weights = read_weights(inputs.weights, architecture_for(settings, training))
    from gpulab.unet.device import describe_device, limit_threads, make_deterministic

    threads = thread_count()
    limit_threads(threads)
    if settings.deterministic:
        make_deterministic()
    device = f"{describe_device()}, {threads} thread{'s' if threads > 1 else ''}"
    print(f"Device: {device}")
    trained = train(settings, training, validation, weights)
    difference = _export(settings, inputs, trained, training, validation, outputs)
    exported = {"ONNX Runtime against Keras, largest difference": f"{difference:.1e}"}
    if half:
        exported.update(_export_half(trained, validation, outputs))
    save_weights(trained.model, trained.architecture, outputs.file("weights.safetensors"))
    _write_history(trained, outputs.file("history.tabular"))
    from gpulab.unet.curves import draw_learning_curves

    draw_learning_curves(trained.records, trained.best_epoch, outputs.file("curves.png"))
    facts = clock.facts(device=device, packages=PACKAGES, seed=settings.seed)
    report = _report(settings, trained, (training, validation), exported, facts)
    report.write(outputs.file("report.md"))
    best = trained.best
    print(
        f"Exported epoch {trained.best_epoch} of {len(trained.records)}: validation Dice "
        f"{best.val_best_dice:.4f} at its best threshold {best.val_best_threshold:.2f}; largest "
        f"difference between ONNX Runtime and Keras {difference:.1e}"
    )


def _export(
    settings: TrainingSettings,
    inputs: TrainingInputs,
    trained: TrainedModel,
    training: Samples,
    validation: Samples,
    outputs: OutputFolder,
) -> float:
    from gpulab.unet.export import export_onnx
    from gpulab.unet.train import metadata_classes

    augmentation = augmentation_for(settings.augmentation, turns=settings.turns)
    metadata = ModelMetadata(
        class_names=metadata_classes(trained.architecture.classes),
        threshold=trained.best.val_best_threshold,
        sure_dice=trained.sure_dice,
        mirrored=augmentation is not None and augmentation.flip,
        spatial_multiple=trained.architecture.spatial_multiple,
        image_size=(training.height, training.width),
        grey_values=None if trained.architecture.scaling == "image" else training.grey_values,
        training_data_sha256=_sha256(inputs.training),
        seed=settings.seed,
        loss=LOSS_NAMES[settings.loss],
        versions=versions(PACKAGES),
    )
    images, _ = validation.read(np.arange(min(SAMPLES_TO_COMPARE, len(validation))))
    print("Exporting the best epoch to ONNX and comparing it with Keras")
    return export_onnx(
        trained.model, trained.architecture, metadata, images, outputs.file("model.onnx")
    )


def _export_half(
    trained: TrainedModel, validation: Samples, outputs: OutputFolder
) -> dict[str, str]:
    """Write the model in 16 bits and tell what that changes, for the report."""
    from gpulab.unet.half import MOST_COMPARED, dice_of, write_half

    compared = len(validation.evenly(MOST_COMPARED))
    print(f"Exporting it in 16 bits as well; both models predict {compared} validation samples")
    full, half = outputs.path / "model.onnx", outputs.file("model_float16.onnx")
    write_half(full, half)
    threshold = trained.best.val_best_threshold
    multiple = trained.architecture.spatial_multiple
    before, after = (dice_of(path, validation, threshold, multiple) for path in (full, half))
    change = f"{after:.4f} ({after - before:+.4f} against 32 bits)"
    print(f"Dice of the model in 16 bits on them: {change}")
    return {f"Dice of the model in 16 bits, {compared} validation samples": change}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_history(trained: TrainedModel, path: Path) -> None:
    rows = [asdict(record) for record in trained.records]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            # Six significant digits: more would be noise.
            writer.writerow(
                {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()}
            )


def _range(weights: NDArray[np.float64] | None) -> str:
    return "all the same" if weights is None else f"{weights.min():.2f} to {weights.max():.2f}"


def _report(
    settings: TrainingSettings,
    trained: TrainedModel,
    parts: tuple[Samples, Samples],
    exported: dict[str, str],
    facts: dict[str, str],
) -> Report:
    best = trained.best
    report = Report("U-Net training")
    if trained.cut_short:
        report.warning(
            f"The job was told to stop, so training was cut short in epoch {len(trained.records)} "
            f"of {trained.epochs}. The model is the best one up to then."
        )
    report.text(
        f"The exported model is that of **epoch {trained.best_epoch}** of {len(trained.records)}, "
        "which had the largest Dice of the foreground on the validation data, at its best "
        f"threshold. That threshold, **{best.val_best_threshold:.2f}**, is stored in the model. "
        "Background pixels never count as a success, and scores on validation data "
        "that chose the epoch and the threshold are a little too good: judge the model on test "
        "data with *unet_predict*."
    )
    report.items(
        {
            "Validation Dice (0.50)": f"{best.val_dice:.4f}",
            f"Validation Dice ({best.val_best_threshold:.2f})": f"{best.val_best_dice:.4f}",
            "Temperature of the probabilities": f"{trained.temperature:.2f}",
            "Thresholds fall below an expected Dice of": (
                f"{trained.sure_dice:g}" if trained.sure_dice else "none: one for all images"
            ),
            "Parameters": f"{trained.model.count_params():,}",
            **exported,
        }
    )
    report.heading("Learning curves")
    report.image("curves")
    report.heading("Data")
    report.table(
        ("Part", "Samples", "Size", "Mean grey value", "Foreground", "Weights"),
        [
            (
                name,
                len(part),
                f"{part.height} × {part.width} × {part.channels}",
                f"{part.statistics.mean:.1f}",
                f"{part.statistics.foreground:.2%}",
                _range(part.weights),
            )
            for name, part in zip(("training", "validation"), parts, strict=True)
        ],
    )
    report.heading("Epochs")
    report.dataset_table("history")
    shown = {**asdict(settings), "epochs": trained.epochs}
    report.heading("Settings")
    report.items({name.replace("_", " "): value for name, value in shown.items()})
    report.heading("Run")
    weight = f"{trained.foreground_weight:.2f}"
    report.items({**facts, "Number format": trained.precision, "Foreground weight": weight})
    return report
