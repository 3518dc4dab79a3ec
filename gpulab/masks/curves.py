"""The curves of a prediction: scores over the threshold, and whether probabilities are right."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpulab.masks.histogram import CurvePoint, ReliabilityBin, expected_calibration_error
from gpulab.masks.score import Scorer
from gpulab.report.figures import BLUE, GREEN, ORANGE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
TITLE_CHARACTERS = 44


@dataclass(frozen=True)
class Curve:
    """Pooled scores of one model and class over the threshold, and its reliability.

    Attributes:
        model: Label of the model.
        class_name: Name of the foreground class.
        thresholds: The thresholds of the masks.
        adapted: Whether single images were cut at others.
        points: Scores at growing thresholds.
        bins: Probabilities against what is true, in growing bins.
    """

    model: str
    class_name: str
    thresholds: tuple[float, ...]
    adapted: bool
    points: Sequence[CurvePoint]
    bins: Sequence[ReliabilityBin]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error; see `expected_calibration_error`."""
        return expected_calibration_error(self.bins)


def curves_of(scorer: Scorer) -> list[Curve]:
    """Return the curves of one model, one for each foreground class."""
    return [
        Curve(
            scorer.model,
            name,
            scorer.thresholds,
            scorer.adapted,
            histogram.curve(),
            histogram.reliability(),
        )
        for name, histogram in zip(scorer.foreground, scorer.histograms, strict=True)
    ]


def draw_curves(curves: Sequence[Curve]) -> Figure:
    """Draw pooled Dice, sensitivity and precision over the threshold, an axis a model and class."""
    figure, axes = _panels(curves, 3.6)
    for axis, curve in zip(axes, curves, strict=True):
        x = [point.threshold for point in curve.points]
        for name, colour, marker in (
            ("Dice", BLUE, "o"),
            ("sensitivity", ORANGE, "^"),
            ("precision", GREEN, "s"),
        ):
            values = [getattr(point, name.lower()) for point in curve.points]
            axis.plot(x, values, color=colour, marker=marker, markersize=3.5, label=name)
        for number, threshold in enumerate(curve.thresholds):
            label = "the model's threshold" if curve.adapted else "threshold of the masks"
            label = "_" if number else label
            axis.axvline(threshold, color="0.35", ls=":", label=label)
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="threshold", ylabel="score, all pixels pooled")
    _legend(figure, axes[0])
    return figure


def draw_reliability(curves: Sequence[Curve]) -> Figure:
    """Draw the observed frequency over the mean probability, an axis a model and class.

    Bars tell how many pixels stand behind a point, on a logarithmic axis at the right.
    """
    figure, axes = _panels(curves, 4.0)
    for axis, curve in zip(axes, curves, strict=True):
        filled = [one for one in curve.bins if one.pixels]
        counts = axis.twinx()
        middles = [(one.low + one.high) / 2 for one in filled]
        width = 0.9 / len(curve.bins)
        pixels = [one.pixels for one in filled]
        bars = counts.bar(middles, pixels, width, color="0.88", label="pixels")
        counts.set(yscale="log", ylim=(0.8, max(pixels, default=1) * 30), ylabel="pixels")
        counts.spines["top"].set_visible(False)
        # The curve belongs before the bars, which would otherwise hide it.
        axis.set_zorder(counts.get_zorder() + 1)
        axis.patch.set_visible(False)
        axis.plot([0, 1], [0, 1], color="0.35", ls=":", label="as often as it says")
        axis.plot(
            [one.mean_probability for one in filled],
            [one.frequency for one in filled],
            color=BLUE,
            marker="o",
            markersize=5,
            label="this model",
        )
        axis.plot([], [], color="0.8", lw=8, label=bars.get_label())
        axis.text(0.03, 0.95, f"ECE {curve.calibration_error:.3f}", transform=axis.transAxes)
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
        axis.set(xlabel="mean probability", ylabel="share of pixels of the class")
    _legend(figure, axes[0])
    return figure


def _panels(curves: Sequence[Curve], height: float) -> tuple[Figure, list[Any]]:
    """Make a figure with a titled axis for each curve."""
    columns = min(COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    width = max(4.4 * columns, 6.0)
    figure, axes = new_figure(rows, columns, width=width, height=height * rows + 0.5)
    used, spare = axes.flat[: len(curves)], axes.flat[len(curves) :]
    for axis in spare:
        axis.set_visible(False)
    for axis, curve in zip(used, curves, strict=True):
        title = f"{curve.model}: {curve.class_name}"
        lines = textwrap.wrap(title, TITLE_CHARACTERS, max_lines=2, placeholder="…")
        axis.set_title("\n".join(lines), fontsize=11)
    return figure, list(used)


def _legend(figure: Figure, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=10)
