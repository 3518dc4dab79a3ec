"""Pictures of how well the sequences that were found cover a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpulab.fold.a3m import GAP, Alignment, Rows
from gpulab.fold.coverage import ChainCoverage, identities
from gpulab.report.figures import BLACK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROWS = 2000  # more lines than a picture has would only hide each other
PANEL_INCHES = 5.0


def draw_coverage(title: str, alignment: Alignment, numbers: Sequence[ChainCoverage]) -> Figure:
    """Draw a panel for each different chain: sequences by their identity, and depth by position.

    Args:
        title: Name of the query.
        alignment: What was found.
        numbers: What was measured of each chain.
    """
    chains = alignment.chains
    columns = min(len(chains), 4)
    rows = -(-len(chains) // columns)
    figure, axes = new_figure(
        rows, columns, width=1.2 + PANEL_INCHES * columns, height=0.6 + 3.4 * rows
    )
    figure.suptitle(title, parse_math=False)
    image = None
    for axis, chain, number in zip(axes.flat, chains, numbers, strict=False):
        order = np.argsort(-identities(chain.rows), kind="stable")
        picked = order[_evenly(len(order))]
        length = len(chain.sequence)
        axis.grid(visible=False)
        image = axis.imshow(
            _coloured(chain.rows, picked),
            aspect="auto",
            interpolation="nearest",
            cmap="viridis",
            vmin=0,
            vmax=1,
            extent=(0.5, length + 0.5, chain.depth, 0),
        )
        depth = (chain.rows != GAP).sum(axis=0)
        axis.plot(np.arange(1, length + 1), depth, color=BLACK, linewidth=1.5)
        axis.set_ylim(0, chain.depth * 1.05)
        axis.set_xlim(0.5, length + 0.5)
        copies = f" × {number.copies}" if number.copies > 1 else ""
        axis.set_title(
            f"Chain {number.chain}{copies}: depth {number.depth}, Neff {number.neff:.0f}"
        )
        axis.set_xlabel("Residue")
        axis.set_ylabel("Sequences; line: depth")
        axis.yaxis.get_major_locator().set_params(integer=True)
    for axis in axes.flat[len(chains) :]:
        axis.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=axes, label="Identity to the query")
    return figure


def _evenly(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_ROWS)).astype(np.int64))


def _coloured(rows: Rows, picked: np.ndarray[tuple[int], np.dtype[np.int64]]) -> object:
    """Return the identity of each row at the positions that it covers, NaN elsewhere."""
    values = np.broadcast_to(identities(rows)[picked, None], (len(picked), rows.shape[1]))
    return np.where(rows[picked] != GAP, values, np.nan)
