"""The pictures of a prediction: samples beside their masks, and overlays."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpulab.masks.sources import Sample
from gpulab.report.figures import GREEN, ORANGE, PALETTE, SKY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 2.5  # inches
TITLE_CHARACTERS = 28
OVERLAY_COLUMNS = 4
OUTLINE_PIXELS = 512
TRUE_WIDTH = 2.5


@dataclass
class Prediction:
    """The predicted masks of the drawn samples for one model and threshold.

    Attributes:
        model: Label of the model.
        loss: Name of the loss it was trained with; empty where unknown.
        threshold: Threshold of the decision.
        class_names: Names of the classes, the background first.
        sure_dice: Expected Dice below which an image's threshold falls; 0 for one for all images.
        thresholds: For each sample's number the thresholds of the foreground classes, float32
            (classes - 1,); empty where they are not adapted.
        masks: For each sample's number its class numbers, uint8 (h, w).
        dice: For each sample's number its Dice, where the truth is known.
    """

    model: str
    loss: str
    threshold: float
    class_names: tuple[str, ...]
    sure_dice: float = 0.0
    thresholds: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    masks: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    dice: dict[int, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Title of its column: which model, which loss, which threshold."""
        lines = textwrap.wrap(self.model, TITLE_CHARACTERS, max_lines=3, placeholder="…")
        return "\n".join(
            ["Predicted mask", *lines, *textwrap.wrap(self.decision, TITLE_CHARACTERS)]
        )

    @property
    def used(self) -> str:
        """The threshold, or the smallest and the largest of all images."""
        if not self.thresholds:
            return f"{self.threshold:.3g}"
        used = np.concatenate(list(self.thresholds.values()))
        low, high = f"{used.min():.2g}", f"{used.max():.2g}"
        return low if low == high else f"{low} to {high}"

    @property
    def decision(self) -> str:
        """Say the loss, where known, and the threshold, or the smallest and the largest used."""
        threshold = f"threshold {self.used}"
        # A model that is named after its loss needs no second mention.
        known = self.loss and self.loss != self.model
        return f"loss {self.loss}, {threshold}" if known else threshold


def draw_samples(
    samples: Sequence[Sample], predictions: Sequence[Prediction], image_title: str = "CT image"
) -> Figure:
    """Draw a row a sample: the image, the true mask where known, and a column a prediction.

    Args:
        samples: The samples to draw.
        predictions: One column each; their `masks` hold every sample.
        image_title: What the images are.

    Returns:
        The figure.
    """
    known = all(sample.truth is not None for sample in samples)
    columns = 1 + known + len(predictions)
    title_lines = max(p.title.count("\n") + 1 for p in predictions)
    figure, axes = new_figure(
        len(samples),
        columns,
        width=PANEL * columns,
        height=(PANEL + 0.3) * len(samples) + 0.25 * title_lines,
        images=True,
    )
    names = _longest([p.class_names for p in predictions])
    for row, sample in zip(axes, samples, strict=True):
        _picture(row[0], sample.image)
        _caption(row[0], _short(sample.name))
        if known and sample.truth is not None:
            _mask(row[1], sample.truth, len(names))
            _caption(row[1], _pixels(sample.truth))
        for axis, prediction in zip(row[1 + known :], predictions, strict=True):
            mask = prediction.masks[sample.number]
            _mask(axis, mask, len(names))
            dice = prediction.dice.get(sample.number)
            _caption(axis, _pixels(mask) if dice is None else _dice(dice, sample, mask))
    titles = [image_title, *(["True mask"] if known else []), *(p.title for p in predictions)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11, fontweight="bold")
    if len(names) > 2:
        _class_legend(figure, names)
    return figure


def draw_overlays(samples: Sequence[Sample], predictions: Sequence[Prediction]) -> Figure:
    """Draw a contact sheet: each image with the outlines of its true and its predicted masks.

    Args:
        samples: The samples to draw.
        predictions: Each has its own colour and kind of line.

    Returns:
        The figure.
    """
    from matplotlib.lines import Line2D

    columns = min(OVERLAY_COLUMNS, len(samples))
    rows = math.ceil(len(samples) / columns)
    side = PANEL * 1.2
    legend = [Line2D([], [], color=colour, ls=line) for colour, line, _ in _styles(predictions)]
    labels = [label for _, _, label in _styles(predictions)]
    known = any(sample.truth is not None for sample in samples)
    if known:
        legend.insert(0, Line2D([], [], color=ORANGE, lw=TRUE_WIDTH))
        labels.insert(0, "True mask")
    figure, axes = new_figure(
        rows,
        columns,
        width=max(side * columns, 6.0),
        height=(max(side, 6.0 / columns) + 0.4) * rows + 0.25 * len(labels),
        images=True,
    )
    for axis, sample in zip(axes.flat, samples, strict=False):
        _picture(axis, sample.image)
        if sample.truth is not None:
            _outline(axis, sample.truth, ORANGE, "-", TRUE_WIDTH)
        for prediction, (colour, line, _) in zip(predictions, _styles(predictions), strict=True):
            _outline(axis, prediction.masks[sample.number], colour, line, 1.3)
        height, width = sample.image.shape[:2]
        # Outlines at the border would otherwise shrink the picture.
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        dice = [f"{p.dice[sample.number]:.2f}" for p in predictions if sample.number in p.dice]
        _caption(axis, _short(sample.name) + (f"\nDice {' / '.join(dice)}" if dice else ""))
    figure.legend(legend, labels, loc="outside upper left", fontsize=10, frameon=False)
    return figure


def _styles(predictions: Sequence[Prediction]) -> list[tuple[str, Any, str]]:
    colours = (SKY, PALETTE[6], GREEN, PALETTE[5], PALETTE[3])
    lines: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
    styles = []
    for number, prediction in enumerate(predictions):
        label = f"Predicted: {prediction.model} ({prediction.decision})"
        styles.append((colours[number % len(colours)], lines[number % len(lines)], label))
    return styles


def _picture(axis: Any, image: NDArray[np.float32]) -> None:
    """Show an image: three channels as colours, otherwise the first in grey, from low to high."""
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
    picture = scaled if image.shape[-1] == 3 else scaled[..., 0]
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _mask(axis: Any, mask: NDArray[np.uint8], classes: int) -> None:
    if classes == 2:
        axis.imshow(mask > 0, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axis.imshow(_coloured(mask), interpolation="nearest")


def _coloured(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    from matplotlib.colors import to_rgb

    colours = np.zeros((256, 3))
    for number in range(1, 256):
        colours[number] = to_rgb(PALETTE[(number - 1) % (len(PALETTE) - 1)])
    return np.asarray(colours[mask])


def _outline(axis: Any, mask: NDArray[np.uint8], colour: str, line: Any, width: float) -> None:
    # Pixels of a small image are repeated, so that outlines follow them and not their diagonals.
    repeat = max(1, OUTLINE_PIXELS // max(mask.shape))
    for number in np.unique(mask[mask > 0]):
        fine = np.kron(mask == number, np.ones((repeat, repeat)))
        # A frame of background closes outlines at the border of the image.
        framed = np.pad(fine, 1)
        rows, columns = ((np.arange(n) - 0.5) / repeat - 0.5 for n in framed.shape)
        style = {"colors": [colour], "linestyles": [line], "linewidths": width}
        axis.contour(columns, rows, framed, levels=[0.5], **style)


def _class_legend(figure: Figure, names: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(color=PALETTE[number % (len(PALETTE) - 1)], label=name)
        for number, name in enumerate(names[1:])
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=min(6, len(patches)), frameon=False
    )


def _caption(axis: Any, text: str) -> None:
    """Write below a picture; as the label of an axis without ticks, so that the layout knows it."""
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_xlabel(text, fontsize=9)


def _dice(dice: float, sample: Sample, mask: NDArray[np.uint8]) -> str:
    empty = sample.truth is not None and not sample.truth.any() and not mask.any()
    return "both empty" if empty else f"Dice {dice:.2f}"


def _pixels(mask: NDArray[np.uint8]) -> str:
    share = float((mask > 0).mean())
    return f"foreground {share:.1%}"


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:16]}…{name[-17:]}"


def _longest(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return max(names, key=len)
