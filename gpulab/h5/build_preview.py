"""A picture of samples of a dataset, with the outlines of their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpulab.h5.part import Part, open_part
from gpulab.report.figures import PALETTE, new_figure, save_figure

MAX_TILES = 12
COLUMNS = 4
TILE_INCHES = 2.2
_COLOURS = (PALETTE[3], PALETTE[4], PALETTE[2], PALETTE[6], PALETTE[1], PALETTE[0])


def draw_preview(dataset: Path, picture: Path) -> None:
    """Draw at most twelve samples, evenly spread over the dataset.

    Args:
        dataset: A dataset of `build`.
        picture: PNG file to write.
    """
    with open_part(
        dataset, masks="masks" if _has_masks(dataset) else None, label="new dataset"
    ) as part:
        chosen = np.unique(np.linspace(0, part.n - 1, min(part.n, MAX_TILES)).round().astype(int))
        columns = min(COLUMNS, len(chosen))
        rows = -(-len(chosen) // columns)
        figure, axes = new_figure(
            rows,
            columns,
            width=max(columns, 2) * TILE_INCHES,
            height=rows * (TILE_INCHES * min(2.0, part.height / part.width) + 0.25) + 0.6,
            images=True,
        )
        for axis, index in zip(axes.flat, chosen, strict=False):
            _draw(axis, part, int(index))
        figure.suptitle(_title(part, len(chosen)), fontsize=10)
        if part.has_masks:
            _legend(figure, part.classes or 2)
        save_figure(figure, picture)


def _has_masks(dataset: Path) -> bool:
    import h5py

    with h5py.File(dataset, "r") as file:
        return "masks" in file


def _title(part: Part, shown: int) -> str:
    text = f"{shown} of {part.n} samples" if shown < part.n else f"{part.n} samples"
    return text + (" with the outlines of their masks" if part.has_masks else "")


def _legend(figure: Any, classes: int) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=_colour(v), label=f"class {v}") for v in range(1, classes)]
    figure.legend(handles=lines[:8], loc="outside lower center", ncols=8, fontsize=7, frameon=False)


def _colour(value: int) -> str:
    return _COLOURS[(value - 1) % len(_COLOURS)]


def _draw(axis: Any, part: Part, index: int) -> None:
    image = part.read_images(index, index + 1)[0]
    if image.shape[2] == 3:
        span = float(image.max() - image.min()) or 1.0
        axis.imshow((image - image.min()) / span)
    else:
        axis.imshow(image[..., 0], cmap="gray", interpolation="nearest")
    if part.has_masks:
        labels = part.read_labels(index, index + 1)[0]
        for value in range(1, part.classes or 1):
            here = labels == value
            if here.any() and not here.all():
                axis.contour(here, levels=[0.5], colors=[_colour(value)], linewidths=1.0)
    name = part.sample_ids[index]
    # matplotlib would take two dollar signs for a formula.
    short = name if len(name) <= 26 else f"{name[:11]}…{name[-14:]}"
    axis.set_title(short.replace("$", r"\$"), fontsize=7)
