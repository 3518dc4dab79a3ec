"""The report of a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.masks.draw import Curve, Prediction
from gpulab.masks.options import PredictOptions
from gpulab.masks.score import METRICS, Score, Scorer
from gpulab.masks.sources import ImageSource
from gpulab.masks.write import number
from gpulab.models.metadata import ModelMetadata
from gpulab.report.markdown import Report

TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "auc": "AUC",
    "hausdorff95": "Hausdorff 95 (pixels)",
}
CONVENTIONS = (
    "Scores are of each foreground class against all else; the background is never counted as a "
    "class. *Pooled* takes the pixels of all images as one; *mean* is the mean over the images for "
    "which a score is defined. Where the true and the predicted mask of an image are both empty, "
    "Dice and IoU are 1. Hausdorff 95 is infinite where one of the two masks is empty and not "
    "defined where both are; such images are left out of its mean."
)


@dataclass
class ModelRun:
    """What came out of one model.

    Attributes:
        label: Label of the model.
        loss: Name of the loss it was trained with; empty where unknown.
        device: Device it ran on.
        metadata: What the model says about itself; None for models from elsewhere.
        predictions: One for each threshold.
        scorer: The scores; None without true masks.
        plans: How images were fitted, with the number of images.
        images_per_second: Speed of the model alone.
    """

    label: str
    loss: str
    device: str
    metadata: ModelMetadata | None
    predictions: list[Prediction]
    scorer: Scorer | None
    plans: dict[str, int]
    images_per_second: float


def write_report(
    path: Path,
    source: ImageSource,
    options: PredictOptions,
    runs: Sequence[ModelRun],
    curves: Sequence[Curve],
    facts: Mapping[str, str],
) -> None:
    """Write the report.

    Args:
        path: File to write.
        source: The images.
        options: What the user chose.
        runs: What came out of each model.
        curves: Threshold curves; empty without true masks.
        facts: Facts of the run.
    """
    report = Report("Predicted masks")
    truth = "with" if source.classes is not None else "without"
    size = "of various sizes"
    if source.size is not None:
        size = f"of {source.size[0]} × {source.size[1]} pixels"
    report.text(f"{len(source.names)} images {size}, {truth} true masks.")
    _models(report, runs)
    if curves:
        _scores(report, runs)
    else:
        report.text("The true masks are not known, so nothing was scored.")
    if "figure" in options.outputs:
        report.heading("Samples")
        report.image("figure")
    if "overlay" in options.outputs:
        report.heading("Overlays")
        report.image("overlay")
    if curves and "threshold_curve" in options.outputs:
        report.heading("Scores over the threshold")
        _best(report, curves)
        report.image("threshold_curve_plot")
    report.heading("About this run")
    report.items(facts)
    report.write(path)


def _models(report: Report, runs: Sequence[ModelRun]) -> None:
    report.heading("Models")
    rows = []
    for run in runs:
        thresholds = ", ".join(f"{p.threshold:g}" for p in run.predictions)
        fitted = "; ".join(f"{count} images: {words}" for words, count in run.plans.items())
        speed = f"{run.images_per_second:.1f} images/s"
        classes = ", ".join(run.predictions[0].class_names)
        rows.append((run.label, run.loss or "unknown", thresholds, classes, fitted, speed))
    report.table(("Model", "Loss", "Threshold", "Classes", "How images were fitted", "Speed"), rows)
    foreign = [run.label for run in runs if run.metadata is None]
    if foreign:
        report.warning(
            f"These models say nothing about themselves, so classes, threshold and loss are not "
            f"known: {', '.join(foreign)}"
        )


def _scores(report: Report, runs: Sequence[ModelRun]) -> None:
    report.heading("Scores")
    rows: list[tuple[str, ...]] = []
    notes: dict[str, None] = {}
    for run in runs:
        for score in run.scorer.scores() if run.scorer else []:
            if score.scope != "image":
                rows.append(_row(score))
                notes.setdefault(f"{score.model}, {score.class_name}: {score.note}")
    header = ("Model", "Threshold", "Class", "Scope", *(TITLES[name] for name in METRICS))
    report.table(header, rows)
    report.text(CONVENTIONS)
    for note in notes:
        if "empty" in note:
            report.warning(note)


def _row(score: Score) -> tuple[str, ...]:
    values = []
    for name in METRICS:
        value = score.values[name]
        text = number(value)
        values.append(text if text in ("NaN", "inf") else f"{value:.3f}")
    return (score.model, f"{score.threshold:g}", score.class_name, score.scope, *values)


def _best(report: Report, curves: Sequence[Curve]) -> None:
    rows = []
    for curve in curves:
        best = max(curve.points, key=lambda point: point.dice)
        rows.append((curve.model, curve.class_name, f"{best.threshold:g}", f"{best.dice:.3f}"))
    report.text(
        "The best pooled Dice over all thresholds. A threshold must be chosen on validation data: "
        "one that is read off here, on the data that are scored, makes the scores look better than "
        "they are."
    )
    report.table(("Model", "Class", "Threshold", "Dice"), rows)
