"""Figures in one style: quiet, legible, with colours that colour-blind readers can tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120

# Okabe and Ito, "Color Universal Design" (2008): distinguishable with every common colour vision.
BLUE, ORANGE, GREEN, RED, SKY, YELLOW, PURPLE, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#F0E442",
    "#CC79A7",
    "#000000",
)
PALETTE = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, BLACK)


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 6.0,
    height: float = 4.0,
    images: bool = False,
) -> tuple[Figure, Any]:
    """Make a figure of `rows` × `columns` axes without touching pyplot's global state.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Width of the figure in inches.
        height: Height of the figure in inches.
        images: True for pictures (no ticks, no frame), False for curves (light grid).

    Returns:
        The figure and a two-dimensional object array of its axes, shape (rows, columns).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        if images:
            axis.set_axis_off()
        else:
            axis.grid(visible=True, alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Figure, path: Path, *, dpi: int = DPI) -> None:
    """Write the figure as PNG. The same figure gives the same bytes."""
    figure.savefig(path, dpi=dpi, format="png", metadata={"Software": None})
