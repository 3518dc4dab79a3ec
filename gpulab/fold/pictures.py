"""Draws pLDDT along the chains and the predicted aligned error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from gpulab.fold.scores import Fold, Model, chain_name
from gpulab.report.figures import BLACK, PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Band:
    """A range of pLDDT, its colour and what it means.

    Attributes:
        lowest: Smallest pLDDT of the band.
        colour: Colour as #RRGGBB.
        name: Its name in AlphaFold DB.
    """

    lowest: float
    colour: str
    name: str


# Limits, names and colours of the AlphaFold Protein Structure Database.
BANDS = (
    Band(90, "#0053D6", "very high"),
    Band(70, "#65CBF3", "confident"),
    Band(50, "#FFDB13", "low"),
    Band(0, "#FF7D45", "very low"),
)
PAE_LIMIT = 31.75  # Å, the upper end of AlphaFold's last bin
MAX_DRAWN = 10  # models in one picture
MAX_OVERVIEW = 8  # queries in the picture of the report
MAX_PAE_PIXELS = 400  # a side of a drawn PAE matrix


def band(plddt: float) -> Band:
    """Return the band of a pLDDT."""
    return next(band for band in BANDS if plddt >= band.lowest or band is BANDS[-1])


def draw_plddt(fold: Fold) -> Figure:
    """Draw the pLDDT of the best models along the residues of all chains."""
    figure, axes = new_figure(width=9, height=4)
    axis = axes[0, 0]
    _draw_bands(axis, names=True)
    positions = np.arange(1, fold.length + 1)
    for number, model in enumerate(fold.models[:MAX_DRAWN]):
        colour = PALETTE[number % len(PALETTE)]
        style = "-" if number < len(PALETTE) else "--"
        axis.plot(positions, model.plddt, style, color=colour, linewidth=1.4, label=_name(model))
    axis.set(xlim=(0.5, fold.length + 0.5), ylim=(0, 100), xlabel="Residue", ylabel="pLDDT")
    axis.set_title(fold.name, fontsize=11, pad=18 if len(fold.chains) > 1 else 6, parse_math=False)
    _mark_chains(axis, fold.chains, vertical=False)
    axis.legend(loc="lower left", fontsize=8, ncols=2, title="rank: model (seed)", title_fontsize=8)
    return figure


def has_pae(fold: Fold) -> bool:
    """Tell whether the network gives a predicted aligned error."""
    return bool(fold.models) and fold.best.pae is not None


def draw_pae(fold: Fold) -> Figure:
    """Draw the predicted aligned error of the best models, one square each."""
    models = [model for model in fold.models[:MAX_DRAWN] if model.pae is not None]
    columns = min(5, len(models))
    rows = -(-len(models) // columns)
    figure, axes = new_figure(
        rows, columns, width=max(4.2, 2.6 * columns + 0.8), height=2.7 * rows + 0.7
    )
    drawn = None
    for axis, model in zip(axes.flat, models, strict=False):
        drawn = _draw_matrix(axis, fold, model)
        axis.grid(visible=False)
        axis.set_title(_name(model), fontsize=9)
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    axes[-1, 0].set_xlabel("Scored residue")
    axes[-1, 0].set_ylabel("Aligned residue")
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, label="Expected position error (Å)", shrink=0.85)
    figure.suptitle(fold.name, fontsize=11, parse_math=False)
    return figure


def draw_overview(folds: Sequence[Fold]) -> Figure:
    """Draw pLDDT and predicted aligned error of the best model of the first queries, a row each."""
    shown = folds[:MAX_OVERVIEW]
    figure, axes = new_figure(len(shown), 2, width=10, height=2.6 * len(shown) + 0.5)
    axes[0, 0].get_gridspec().set_width_ratios((2, 1))
    for row, fold in zip(axes, shown, strict=True):
        _draw_bands(row[0])
        row[0].plot(np.arange(1, fold.length + 1), fold.best.plddt, color=BLACK, linewidth=1.4)
        row[0].set(xlim=(0.5, fold.length + 0.5), ylim=(0, 100), xlabel="Residue", ylabel="pLDDT")
        row[0].set_title(f"{fold.name}, model {fold.best.model}", fontsize=10, parse_math=False)
        _mark_chains(row[0], fold.chains, vertical=False)
        row[1].grid(visible=False)
        if fold.best.pae is None:
            row[1].set_axis_off()
            continue
        drawn = _draw_matrix(row[1], fold, fold.best)
        figure.colorbar(drawn, ax=row[1], label="PAE (Å)")
    return figure


def _draw_bands(axis: Any, *, names: bool = False) -> None:
    top = 100.0
    for item in BANDS:
        axis.axhspan(item.lowest, top, color=item.colour, alpha=0.16, linewidth=0)
        if names:
            place = (item.lowest + top) / 200
            axis.text(1.005, place, item.name, transform=axis.transAxes, va="center", fontsize=8)
        top = item.lowest


def _draw_matrix(axis: Any, fold: Fold, model: Model) -> Any:
    pae = np.asarray(model.pae, dtype=np.float32)
    # Larger matrices are thinned: a picture has no more points to show.
    step = max(1, -(-len(pae) // MAX_PAE_PIXELS))
    end = len(pae) + 0.5
    drawn = axis.imshow(
        pae[::step, ::step],
        cmap="Greens_r",
        vmin=0,
        vmax=PAE_LIMIT,
        extent=(0.5, end, end, 0.5),
        interpolation="nearest",
    )
    _whole_ticks(axis, "xy")
    _mark_chains(axis, fold.chains, vertical=True)
    return drawn


def _whole_ticks(axis: Any, names: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for name in names:
        getattr(axis, f"{name}axis").set_major_locator(MaxNLocator(nbins=6, integer=True))


def _mark_chains(axis: Any, chains: Sequence[str], *, vertical: bool) -> None:
    """Draw a line between chains and write their names above."""
    if len(chains) == 1:
        return
    ends = list(accumulate(map(len, chains)))
    for end in ends[:-1]:
        axis.axvline(end + 0.5, color=BLACK, linewidth=0.8)
        if vertical:
            axis.axhline(end + 0.5, color=BLACK, linewidth=0.8)
    if vertical:
        return
    for number, (end, chain) in enumerate(zip(ends, chains, strict=True)):
        axis.text(
            end - len(chain) / 2 + 0.5, 1.015, chain_name(number), ha="center", fontsize=9,
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip


def _name(model: Model) -> str:
    seed = f" ({model.seed})" if model.seed else ""
    return f"{model.rank}: model {model.model}{seed}"
