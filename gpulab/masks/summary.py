"""The report of a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.masks.curves import Curve
from gpulab.masks.draw import Prediction
from gpulab.masks.floors import Floor
from gpulab.masks.options import PredictOptions
from gpulab.masks.score import METRICS, Score, Scorer
from gpulab.masks.sources import ImageSource
from gpulab.masks.write import number
from gpulab.models.metadata import ModelMetadata
from gpulab.report.markdown import Report, escape

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

ONE_MODEL = "There is one model, so there is no mean of models to add."
ADAPTED = (
    "Images of which a model is in doubt were cut at a lower threshold than its own, down to half "
    "of it, as far as its validation data showed that this brings better masks. So the scores of "
    "the masks do not lie on the curve of the scores over one threshold for all."
)
FLIPPED = (
    "predicted each image as it is and mirrored left to right; the probabilities are the mean of "
    "both."
)
AVERAGED = (
    "The mean of the models has the mean of their probabilities and, unless thresholds were given, "
    "the mean of their thresholds."
)
FLOORS = (
    "What masks that need no model score on these images. A model whose Dice and IoU are not "
    "clearly above them has not shown that it learnt anything. *Everything* takes all pixels for "
    "the class."
)
BAND = (
    " *Grey values* takes one interval of them: the one with the largest pooled Dice on these very "
    "images and true masks. Nobody knows it beforehand, so this floor is generous."
)
RELIABILITY = (
    "Of the pixels to which a model gives a probability of 0.8, 8 in 10 should be of the class. "
    "The *expected calibration error* (ECE) says by how much the probabilities are off on average: "
    "0 is perfect. It takes the probability of the foreground class over all pixels in ten equal "
    "bins, so where most pixels are surely background it is small for every model: look at the "
    "curve too. Where it is above the diagonal the probabilities are too low, below it too high."
)


@dataclass(frozen=True)
class ModelUse:
    """How a model ran.

    Attributes:
        device: Device it ran on.
        metadata: What the model says about itself; None for models from elsewhere.
        plans: How images were fitted, with the number of images.
        flips: Whether the mean was taken with the prediction of the mirrored image.
        images_per_second: Speed of the model alone.
        notes: Ways in which the images are unlike those that it learnt from.
    """

    device: str
    metadata: ModelMetadata | None
    plans: dict[str, int]
    flips: bool
    images_per_second: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ModelRun:
    """What came out of one model, or of the mean of all.

    Attributes:
        label: Label of the model.
        loss: Name of the loss it was trained with; empty where unknown.
        predictions: One for each threshold.
        scorer: The scores; None without true masks.
        use: How it ran; None for the mean.
    """

    label: str
    loss: str
    predictions: list[Prediction]
    scorer: Scorer | None
    use: ModelUse | None = None


@dataclass(frozen=True)
class Results:
    """What the report tells.

    Attributes:
        runs: What came out of each model.
        curves: Curves of each model and class; empty without true masks.
        floors: What needs no model; empty without true masks.
    """

    runs: Sequence[ModelRun]
    curves: Sequence[Curve]
    floors: Sequence[Floor]


def write_report(
    path: Path,
    source: ImageSource,
    options: PredictOptions,
    results: Results,
    facts: Mapping[str, str],
) -> None:
    """Write the report.

    Args:
        path: File to write.
        source: The images.
        options: What the user chose.
        results: What came out.
        facts: Facts of the run.
    """
    report = Report("Predicted masks")
    truth = "with" if source.classes is not None else "without"
    size = "of various sizes"
    if source.size is not None:
        size = f"of {source.size[0]} × {source.size[1]} pixels"
    report.text(f"{len(source.names)} images {size}, {truth} true masks.")
    curves = results.curves
    _models(report, results.runs, options)
    if curves:
        _scores(report, results.runs)
        _floors(report, results.floors)
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
    if curves:
        report.heading("Can the probabilities be trusted?")
        _reliability(report, curves)
        if "reliability" in options.outputs:
            report.image("reliability_plot")
    report.heading("About this run")
    report.items(facts)
    report.write(path)


def _models(report: Report, runs: Sequence[ModelRun], options: PredictOptions) -> None:
    report.heading("Models")
    rows = []
    for run in runs:
        thresholds = ", ".join(_threshold(p) for p in run.predictions)
        classes = ", ".join(run.predictions[0].class_names)
        loss, how, speed = run.loss or "–", "the models above, averaged", "–"
        if run.use:
            loss = run.loss or "unknown"
            plans = run.use.plans.items()
            how = "; ".join(f"{count} images: {words}" for words, count in plans)
            speed = f"{run.use.images_per_second:.1f} images/s"
        rows.append((run.label, loss, thresholds, classes, how, speed))
    report.table(("Model", "Loss", "Threshold", "Classes", "How images were fitted", "Speed"), rows)
    if any(prediction.sure_dice for run in runs for prediction in run.predictions):
        report.text(ADAPTED)
    uses = {run.label: run.use for run in runs if run.use}
    flipped = [label for label, use in uses.items() if use.flips]
    if flipped:
        every = len(flipped) == len(uses)
        who = "Each model" if every else f"These models: {escape(', '.join(flipped))},"
        report.text(f"{who} {FLIPPED}")
    if options.averages:
        report.text(AVERAGED)
    elif options.mean:
        report.warning(ONE_MODEL)
    for note in (note for use in uses.values() for note in use.notes):
        report.warning(note)
    foreign = [run.label for run in runs if run.use and run.use.metadata is None]
    if foreign:
        report.warning(
            f"These models say nothing about themselves, so classes, threshold and loss are not "
            f"known: {', '.join(foreign)}"
        )


def _threshold(prediction: Prediction) -> str:
    own = f"{prediction.threshold:.4g}"
    return f"{own}, by image {prediction.used}" if prediction.sure_dice else own


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


def _floors(report: Report, floors: Sequence[Floor]) -> None:
    rows = [
        (
            "everything" if floor.band is None else _band(*floor.band),
            floor.class_name,
            *(
                f"{value:.3f}"
                for value in (floor.pooled.dice, floor.pooled.iou, floor.mean_dice, floor.mean_iou)
            ),
        )
        for floor in floors
    ]
    report.heading("Floors")
    report.text(FLOORS + (BAND if any(floor.band for floor in floors) else ""))
    header = ("Taken for the class", "Class", "Dice, pooled", "IoU, pooled")
    report.table((*header, "Dice, mean", "IoU, mean"), rows)


def _band(low: float, high: float) -> str:
    first, last = f"{low:.5g}", f"{high:.5g}"
    return f"grey value {first}" if first == last else f"grey values from {first} to {last}"


def _reliability(report: Report, curves: Sequence[Curve]) -> None:
    report.text(RELIABILITY)
    rows = [(c.model, c.class_name, f"{c.calibration_error:.4f}") for c in curves]
    report.table(("Model", "Class", "Expected calibration error"), rows)


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
