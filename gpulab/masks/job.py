"""The `unet_predict` tool: from models and images to masks, scores, figures and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpulab import __version__
from gpulab.errors import InputError
from gpulab.jobs import OutputFolder
from gpulab.masks.draw import Curve, Prediction, draw_curves, draw_overlays, draw_samples
from gpulab.masks.options import (
    PredictOptions,
    choose_overlays,
    choose_rows,
    options_of,
    safe_names,
)
from gpulab.masks.predict import Predictor, Progress, to_labels
from gpulab.masks.score import Scorer
from gpulab.masks.sources import ImageSource
from gpulab.masks.summary import ModelRun, write_report
from gpulab.masks.write import MaskFile, write_curves, write_scores, write_tiff
from gpulab.models.session import MaskModel, open_model
from gpulab.report.facts import RunClock
from gpulab.report.figures import save_figure

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnx", "numpy", "h5py", "scikit-learn", "scipy")


@dataclass
class _Column:
    """One model at one threshold: its name among the outputs and what is drawn of it."""

    key: str
    prediction: Prediction


def predict_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Predict masks with ONNX models, score them, and draw them.

    Args:
        params: The form: `models`, the conditional `images`, `thresholds`, the sections `fitting`,
            `reading` and `drawing`, the lists `outputs`, and `probabilities`.
        outputs: Receives masks.h5, and as chosen tiff_masks/, metrics.tabular,
            threshold_curve.tabular, threshold_curve.png, figure.png, overlay.png, report.md.

    Raises:
        InputError: A model, the images or the parameters cannot be used.
    """
    clock = RunClock()
    options = options_of(params)
    with options.open_images() as source:
        count = len(source.names)
        size = "various sizes" if source.size is None else f"{source.size[0]} x {source.size[1]}"
        print(f"{count} images, {size}, {source.channels} channel(s)")
        rows = choose_rows(source.names, options.drawing)
        overlays = choose_overlays(count, rows, options.drawing)
        runs = _predict_all(options, source, outputs, {*rows, *overlays})
        predictions = [column for run in runs for column in run.predictions]
        _draw(options, source, predictions, rows, overlays, outputs)
        curves = _write_scores(runs, outputs, draw="threshold_curve" in options.outputs)
        if "report" in options.outputs:
            facts = clock.facts(device=runs[0].device, packages=PACKAGES, seed=options.drawing.seed)
            write_report(outputs.file("report.md"), source, options, runs, curves, facts)


def _predict_all(
    options: PredictOptions, source: ImageSource, outputs: OutputFolder, drawn: set[int]
) -> list[ModelRun]:
    runs = []
    attributes = {"made_by": f"gpulab unet_predict {__version__}"}
    path = outputs.file("masks.h5")
    with MaskFile(path, source.names, source.size, attributes) as masks:
        # One model after the other, so that one alone is in memory.
        model_keys = safe_names([file.label for file in options.models])
        for file, key in zip(options.models, model_keys, strict=True):
            model = open_model(
                file.path,
                file.label,
                channels=source.channels,
                layout=options.layout,
                activation=options.activation,
            )
            _check_classes(model, source)
            print(f"Model {model.label!r} on {model.device}")
            columns = _columns(options, model, key)
            runs.append(_predict(options, source, model, columns, masks, outputs, drawn))
    return runs


def _check_classes(model: MaskModel, source: ImageSource) -> None:
    if source.classes is not None and source.classes > model.classes:
        raise InputError(
            f"The true masks have {source.classes} classes with the background, but the model "
            f"{model.label!r} knows {model.classes}, give masks with the model's classes"
        )


def _columns(options: PredictOptions, model: MaskModel, model_key: str) -> list[_Column]:
    thresholds = options.thresholds or (model.threshold,)
    columns = []
    for threshold in thresholds:
        key = "masks" if len(options.models) == 1 else f"masks_{model_key}"
        if len(thresholds) > 1:
            key += f"_threshold_{threshold:g}"
        prediction = Prediction(model.label, model.loss, threshold, model.class_names)
        columns.append(_Column(key, prediction))
    return columns


def _predict(
    options: PredictOptions,
    source: ImageSource,
    model: MaskModel,
    columns: Sequence[_Column],
    file: MaskFile,
    outputs: OutputFolder,
    drawn: set[int],
) -> ModelRun:
    """Send all images through one model and write, score and keep what is drawn of its masks."""
    probabilities_key = columns[0].key.partition("_threshold_")[0].replace("masks", "probabilities")
    with_probabilities = options.probabilities != "no"
    for column in columns:
        file.add(column.key, "uint8", 1, column.prediction)
    if with_probabilities:
        first = columns[0].prediction
        file.add(probabilities_key, options.probabilities, model.classes, first)
    scorer = None
    if source.classes is not None:
        thresholds = [column.prediction.threshold for column in columns]
        scorer = Scorer(model.label, thresholds, model.class_names)
    predictor = Predictor(model, options.fit, options.batch)
    progress = Progress(f"Model {model.label!r}", len(source.names))
    tiff_names = safe_names(source.names)
    single = len(options.models) * len(columns) == 1
    for sample, probabilities in predictor.run(source):
        masks = {}
        if with_probabilities:
            file.write(probabilities_key, sample.number, probabilities)
        for column in columns:
            mask = to_labels(probabilities, column.prediction.threshold)
            masks[column.prediction.threshold] = mask
            file.write(column.key, sample.number, mask[..., None])
            if "tiff_masks" in options.outputs:
                prefix = "" if single else f"{column.key.removeprefix('masks_')}__"
                name = f"tiff_masks/{prefix}{tiff_names[sample.number]}.tiff"
                write_tiff(outputs.file(name), mask, model.classes)
            if sample.number in drawn:
                column.prediction.masks[sample.number] = mask
        if scorer is not None and sample.truth is not None:
            dice = scorer.add(sample.name, probabilities, masks, sample.truth)
            for column in columns:
                column.prediction.dice[sample.number] = dice[column.prediction.threshold]
        progress.tell(sample.number + 1)
    return ModelRun(
        label=model.label,
        loss=model.loss,
        device=model.device,
        metadata=model.metadata,
        predictions=[column.prediction for column in columns],
        scorer=scorer,
        plans=predictor.plans,
        images_per_second=len(source.names) / max(predictor.seconds, 1e-9),
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


def _write_scores(runs: Sequence[ModelRun], outputs: OutputFolder, *, draw: bool) -> list[Curve]:
    scorers = [run.scorer for run in runs if run.scorer is not None]
    if not scorers:
        return []
    scores = [score for scorer in scorers for score in scorer.scores()]
    write_scores(outputs.file("metrics.tabular"), scores)
    curves = [
        Curve(scorer.model, name, scorer.thresholds, histogram.curve())
        for scorer in scorers
        for name, histogram in zip(scorer.foreground, scorer.histograms, strict=True)
    ]
    if draw:
        write_curves(outputs.file("threshold_curve.tabular"), curves)
        save_figure(draw_curves(curves), outputs.file("threshold_curve.png"))
    for score in scores:
        if score.scope == "pooled":
            print(
                f"{score.model}, threshold {score.threshold:g}, {score.class_name}, all pixels: "
                f"Dice {score.values['dice']:.4f}, sensitivity {score.values['sensitivity']:.4f}, "
                f"specificity {score.values['specificity']:.4f}"
            )
    return curves
