"""The `unet_predict` tool: from models and images to masks, scores, figures and report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from gpulab import __version__
from gpulab.errors import InputError
from gpulab.jobs import OutputFolder
from gpulab.masks.collect import Collector, Origin, Stream
from gpulab.masks.curves import Curve, curves_of, draw_curves, draw_reliability
from gpulab.masks.draw import Prediction, draw_overlays, draw_samples
from gpulab.masks.floors import measure_floors
from gpulab.masks.mean import MeanOfModels
from gpulab.masks.options import (
    ModelFile,
    PredictOptions,
    choose_overlays,
    choose_rows,
    options_of,
    safe_names,
)
from gpulab.masks.predict import Predictor
from gpulab.masks.sources import ImageSource
from gpulab.masks.summary import ONE_MODEL, ModelRun, ModelUse, Results, write_report
from gpulab.masks.unlike import differences
from gpulab.masks.write import MaskFile, write_curves, write_reliability, write_scores
from gpulab.models.session import MaskModel, open_model
from gpulab.report.facts import RunClock
from gpulab.report.figures import save_figure

SCRATCH = ".mean.h5"
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnx", "numpy", "h5py", "scikit-learn", "scipy")


def predict_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Predict masks with ONNX models, score them, and draw them.

    Args:
        params: The form: `models`, the conditional `images`, `thresholds`, the sections
            `prediction`, `fitting`, `reading` and `drawing`, the lists `outputs`, and
            `probabilities`.
        outputs: Receives masks.h5, and as chosen tiff_masks/, metrics.tabular,
            threshold_curve.tabular, threshold_curve.png, reliability.tabular, reliability.png,
            figure.png, overlay.png, report.md.

    Raises:
        InputError: A model, the images or the parameters cannot be used.
    """
    clock = RunClock()
    options = options_of(params)
    if options.mean and not options.averages:
        print(ONE_MODEL)
    with options.open_images() as source:
        count = len(source.names)
        size = "various sizes" if source.size is None else f"{source.size[0]} x {source.size[1]}"
        print(f"{count} images, {size}, {source.channels} channel(s)")
        rows = choose_rows(source.names, options.drawing)
        overlays = choose_overlays(count, rows, options.drawing)
        runs = _predict_all(options, source, outputs, {*rows, *overlays})
        predictions = [column for run in runs for column in run.predictions]
        _draw(options, source, predictions, rows, overlays, outputs)
        curves = _write_scores(runs, outputs, options.outputs)
        if "report" in options.outputs:
            floors = measure_floors(source, predictions[0].class_names) if curves else []
            device = runs[0].use.device if runs[0].use else ""
            facts = clock.facts(device=device, packages=PACKAGES, seed=options.drawing.seed)
            results = Results(runs, curves, floors)
            write_report(outputs.file("report.md"), source, options, results, facts)


def _predict_all(
    options: PredictOptions, source: ImageSource, outputs: OutputFolder, drawn: set[int]
) -> list[ModelRun]:
    attributes = {"made_by": f"gpulab unet_predict {__version__}"}
    path = outputs.file("masks.h5")
    with (
        MaskFile(path, source.names, source.size, attributes) as masks,
        MeanOfModels(outputs.file(SCRATCH)) if options.averages else nullcontext() as mean,
    ):
        collector = Collector(options, source, masks, outputs, drawn)
        # One model after the other, so that one alone is in memory.
        keys = safe_names([file.label for file in options.models]) if options.several else [""]
        runs = [
            _predict(options, source, file, key, collector, mean)
            for file, key in zip(options.models, keys, strict=True)
        ]
        if mean is not None:
            origin = mean.origin()
            found, scorer = collector.collect(origin, mean.stream(source))
            runs.append(ModelRun(origin.label, origin.loss, found, scorer))
    return runs


def _predict(
    options: PredictOptions,
    source: ImageSource,
    file: ModelFile,
    key: str,
    collector: Collector,
    mean: MeanOfModels | None,
) -> ModelRun:
    """Send all images through one model."""
    model = open_model(
        file.path,
        file.label,
        channels=source.channels,
        layout=options.layout,
        activation=options.activation,
    )
    _check_classes(model, source)
    print(f"Model {model.label!r} on {model.device}")
    named = model.metadata is not None
    origin = Origin(
        model.label, key, model.loss, model.threshold, model.sure_dice, model.class_names, named
    )
    flips = model.mirrored if options.flips is None else options.flips
    predictor = Predictor(model, options.fit, options.batch, flips=flips)
    stream: Stream = predictor.run(source)
    if mean is not None:
        stream = mean.taking(origin, stream)
    predictions, scorer = collector.collect(origin, stream)
    speed = len(source.names) / max(predictor.seconds, 1e-9)
    notes = differences(predictor.seen, model.metadata, model.label)
    for note in notes:
        print(f"Please note: {note}")
    use = ModelUse(model.device, model.metadata, predictor.plans, flips, speed, tuple(notes))
    return ModelRun(model.label, model.loss, predictions, scorer, use)


def _check_classes(model: MaskModel, source: ImageSource) -> None:
    if source.classes is not None and source.classes > model.classes:
        raise InputError(
            f"The true masks have {source.classes} classes with the background, but the model "
            f"{model.label!r} knows {model.classes}, give masks with the model's classes"
        )


def _draw(
    options: PredictOptions,
    source: ImageSource,
    predictions: Sequence[Prediction],
    rows: Sequence[int],
    overlays: Sequence[int],
    outputs: OutputFolder,
) -> None:
    samples = {}
    if options.outputs & {"figure", "overlay"}:
        samples = {number: source.read(number) for number in {*rows, *overlays}}
    if "figure" in options.outputs:
        shown = [samples[number] for number in rows]
        figure = draw_samples(shown, predictions, options.drawing.image_title)
        save_figure(figure, outputs.file("figure.png"))
    if "overlay" in options.outputs:
        shown = [samples[number] for number in overlays]
        save_figure(draw_overlays(shown, predictions), outputs.file("overlay.png"))


def _write_scores(
    runs: Sequence[ModelRun], outputs: OutputFolder, wanted: frozenset[str]
) -> list[Curve]:
    scorers = [run.scorer for run in runs if run.scorer is not None]
    if not scorers:
        return []
    scores = [score for scorer in scorers for score in scorer.scores()]
    write_scores(outputs.file("metrics.tabular"), scores)
    curves = [curve for scorer in scorers for curve in curves_of(scorer)]
    if "threshold_curve" in wanted:
        write_curves(outputs.file("threshold_curve.tabular"), curves)
        save_figure(draw_curves(curves), outputs.file("threshold_curve.png"))
    if "reliability" in wanted:
        write_reliability(outputs.file("reliability.tabular"), curves)
        save_figure(draw_reliability(curves), outputs.file("reliability.png"))
    for score in scores:
        if score.scope == "pooled":
            print(
                f"{score.model}, threshold {score.threshold:g}, {score.class_name}, all pixels: "
                f"Dice {score.values['dice']:.4f}, sensitivity {score.values['sensitivity']:.4f}, "
                f"specificity {score.values['specificity']:.4f}"
            )
    return curves
