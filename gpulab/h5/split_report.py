"""What a user sees of a split: a table, a picture, and one line for each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gpulab.h5.labels import MaskForm, class_numbers
from gpulab.h5.limits import readable
from gpulab.h5.split_copy import PartCopy, Shared, count_shared
from gpulab.report.figures import PALETTE, new_figure, save_figure

COLUMNS = 6
_SHOWN_PIXELS = 256
_HEADER = (
    "part",
    "samples",
    "groups",
    "height",
    "width",
    "channels",
    "classes",
    "foreground_fraction_mean",
    "samples_with_foreground",
    "image_min",
    "image_max",
    "identical_images_with_other_parts",
    "identical_pairs",
)


def write_summary(
    path: Path,
    parts: Sequence[PartCopy],
    shapes: Sequence[Sequence[int]],
    classes: int,
    shared: Sequence[Shared],
) -> None:
    """Write one row a part.

    Args:
        path: Tab-separated file to write.
        parts: The finished parts.
        shapes: (h, w, c) of the images of each part.
        classes: Number of classes with the background.
        shared: Images that are in two parts.
    """
    lines = ["\t".join(_HEADER)]
    for part, (height, width, channels) in zip(parts, shapes, strict=True):
        values = (
            part.name,
            len(part.fractions),
            "NA" if part.groups is None else len(part.groups),
            height,
            width,
            channels,
            classes,
            f"{np.mean(part.fractions):.6f}",
            sum(fraction > 0 for fraction in part.fractions),
            f"{part.low:g}",
            f"{part.high:g}",
            count_shared(part, parts),
            "; ".join(str(one) for one in shared if part.name in (one.first, one.second)) or "none",
        )
        lines.append("\t".join(map(str, values)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def summary_line(part: PartCopy, total: int) -> str:
    """Return the line that is printed for a finished part."""
    count = len(part.fractions)
    some = sum(fraction > 0 for fraction in part.fractions)
    groups = "" if part.groups is None else f"{len(part.groups)} groups, "
    return (
        f"{part.name}: {count} samples ({count / total:.1%}), {groups}{some} with foreground, "
        f"{np.mean(part.fractions):.2%} of the pixels are foreground"
    )


def pick_rows(part: PartCopy, count: int, random: np.random.Generator) -> list[int]:
    """Choose samples to show: at random, those with foreground first."""
    order = random.permutation(len(part.fractions))
    some = np.asarray(part.fractions)[order] > 0
    return sorted(int(row) for row in order[np.argsort(~some, kind="stable")][:count])


def draw_preview(
    path: Path, parts: Sequence[PartCopy], forms: Sequence[MaskForm], seed: int
) -> None:
    """Draw a row of samples for each part: the image with the outline of its mask.

    All pictures share one grey scale, so that parts of differing brightness are seen to differ.

    Args:
        path: PNG to write.
        parts: The finished parts, their files closed.
        forms: How the masks of each part are stored.
        seed: Seed of the choice.
    """
    random = np.random.default_rng(seed)
    shown: list[_Shown] = []
    for number, (part, form) in enumerate(zip(parts, forms, strict=True)):
        rows = pick_rows(part, COLUMNS, random)
        # Our own file, finished a moment ago: no need to distrust it.
        with h5py.File(part.path, "r") as file:
            for column, row in enumerate(rows):
                image, labels = _thumbnail(file, row, form, part.name)
                shown.append(_Shown(number, column, row, image, labels))
    low, high = _grey_range([one.image for one in shown])

    figure, axes = new_figure(
        len(parts), COLUMNS, width=2.0 * COLUMNS, height=2.3 * len(parts) + 0.5, images=True
    )
    for one in shown:
        scaled = np.clip((one.image - low) / max(high - low, 1e-12), 0.0, 1.0)
        _draw(axes[one.part, one.column], scaled, one.labels, _title(parts[one.part], one.row))
    for number, part in enumerate(parts):
        axes[number, 0].text(
            -0.08,
            0.5,
            f"{part.name} ({len(part.fractions)})",
            transform=axes[number, 0].transAxes,
            rotation=90,
            ha="right",
            va="center",
            fontsize=11,
            fontweight="bold",
        )
    figure.suptitle(
        "Random samples of each part, those with foreground first; lines are the masks", fontsize=10
    )
    save_figure(figure, path)


@dataclass(frozen=True)
class _Shown:
    """A sample in the picture: its part and column, its row in the file, and its pixels."""

    part: int
    column: int
    row: int
    image: NDArray[np.float64]
    labels: NDArray[np.uint8]


def _draw(axis: Any, image: NDArray[np.float64], labels: NDArray[np.uint8], title: str) -> None:
    axis.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    for number in np.unique(labels[labels > 0]):
        # Class 1 is orange, which stands out of grey pictures.
        colour = PALETTE[int(number) % len(PALETTE)]
        if (labels != number).any():  # a mask without an edge has no outline
            axis.contour(labels == number, levels=[0.5], colors=[colour], linewidths=1.2)
    # A dollar sign would be read as the start of a formula.
    axis.set_title(title, fontsize=7, parse_math=False)


def _title(part: PartCopy, row: int) -> str:
    name = readable(part.sample_ids[row], 200)
    name = name if len(name) <= 26 else f"…{name[-25:]}"
    return f"{name}\n{part.fractions[row]:.1%} foreground"


def _thumbnail(
    file: h5py.File, row: int, form: MaskForm, label: str
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return an image as (h, w) or (h, w, 3) and its class numbers, both thinned out."""
    image: NDArray[Any] = file["images"][row]
    labels = class_numbers(file["masks"][row : row + 1], form, label)[0]
    step = max(1, -(-max(image.shape[:2]) // _SHOWN_PIXELS))
    image = image[::step, ::step].astype(np.float64)
    return image if image.shape[2] == 3 else image[..., 0], labels[::step, ::step]


def _grey_range(images: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    values = np.concatenate([image.ravel() for image in images])
    low, high = np.percentile(values, (0.5, 99.5))
    return float(low), float(high)
