"""The picture of what a notebook used: memory and GPU over time, with its cells marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.notebook.records import CellTime, Sample
from gpulab.report import figures

GIB = 1 << 30
MIB = 1 << 20
MAX_POINTS = 1_500
MAX_BANDS = 400  # marked cells; more would be a grey surface
_NARROW = 0.02  # share of the width below which a cell has no room for its number


def draw_usage(samples: Sequence[Sample], cells: Sequence[CellTime], path: Path) -> None:
    """Draw memory, and where there is one the GPU, over time as PNG.

    Args:
        samples: In the order of time; may be empty.
        cells: The code cells; those that ran are marked, and those that failed in red.
        path: Where to write, 1080 pixels wide.
    """
    thinned = _thin(samples)
    gpu = any(sample.gpu_memory_bytes is not None for sample in thinned)
    busy = any(sample.gpu_percent is not None for sample in thinned)
    rows = 2 if busy else 1
    figure, axes = figures.new_figure(rows, 1, width=9, height=3.2 + 1.8 * (rows - 1))
    ends = [s.seconds for s in thinned] + [c.begin + c.seconds for c in cells]
    end = max([*ends, 1e-3])
    unit, divisor = _time_unit(end)
    memory = axes[0, 0]
    _draw_memory(memory, thinned, divisor, gpu)
    if busy:
        known = [(s.seconds / divisor, s.gpu_percent) for s in thinned if s.gpu_percent is not None]
        axes[1, 0].plot(*zip(*known, strict=True), color=figures.ORANGE, lw=1.2)
        axes[1, 0].set(ylabel="GPU busy (%)", ylim=(0, 105))
    for axis in axes[:, 0]:
        axis.set_xlim(0, 1.01 * end / divisor)
        _mark_cells(axis, cells, divisor, end, numbers=axis is memory)
    axes[-1, 0].set_xlabel(f"Time since the kernel began ({unit})")
    figures.save_figure(figure, path)


def _draw_memory(axis: Any, samples: list[Sample], divisor: float, gpu: bool) -> None:
    if not samples:
        axis.set(ylabel="Memory", yticks=[], title="No sample was taken")
        return
    highest = max(max(s.memory_bytes, s.gpu_memory_bytes or 0) for s in samples)
    unit, size = ("GiB", GIB) if highest >= GIB else ("MiB", MIB)
    times = [s.seconds / divisor for s in samples]
    values = [s.memory_bytes / size for s in samples]
    # One sample is a point, which a line would not show.
    marker = "o" if len(samples) == 1 else ""
    axis.plot(times, values, marker=marker, color=figures.BLUE, lw=1.6, label="memory")
    peak = max(range(len(values)), key=values.__getitem__)
    text = f"peak {values[peak]:.{2 if unit == 'GiB' else 0}f} {unit}"
    axis.axhline(values[peak], color=figures.BLUE, lw=0.8, ls=":", label=text)
    if gpu:
        known = [
            (s.seconds / divisor, s.gpu_memory_bytes / size)
            for s in samples
            if s.gpu_memory_bytes is not None
        ]
        axis.plot(
            *zip(*known, strict=True),
            marker=marker,
            ls="--",
            color=figures.ORANGE,
            label="GPU memory",
        )
    axis.set(ylabel=f"Memory ({unit})", ylim=(0, max(highest / size, 1e-9) * 1.15))
    axis.legend(
        frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1.06), borderaxespad=0
    )


def _mark_cells(
    axis: Any, cells: Sequence[CellTime], divisor: float, end: float, *, numbers: bool
) -> None:
    """Shade every second cell and each that failed; write numbers where there is room."""
    ran = [cell for cell in cells if cell.state != "skipped"]
    bad = [cell for cell in ran if cell.state != "done"][:MAX_BANDS]
    widest = sorted(ran, key=lambda cell: cell.seconds, reverse=True)[:MAX_BANDS]
    marked = {cell.number: cell for cell in [*widest, *bad]}.values()
    dark = True
    for cell in sorted(marked, key=lambda cell: cell.begin):
        left, right = cell.begin / divisor, (cell.begin + cell.seconds) / divisor
        wide, failed = cell.seconds >= _NARROW * end, cell.state != "done"
        if failed:
            axis.axvspan(left, right, color=figures.RED, alpha=0.2, lw=0)
            axis.axvline(right, color=figures.RED, lw=1)
        elif wide:
            axis.axvspan(left, right, color="0.5", alpha=0.14 if dark else 0.05, lw=0)
            dark = not dark
        if numbers and (wide or failed):
            place = (left + right) / 2 if wide else right
            words = "cell " if cell.seconds >= 4 * _NARROW * end else ""
            axis.text(
                place,
                1.01,
                f"{words}{cell.number}",
                transform=axis.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8,
                color=figures.RED if failed else "0.35",
            )


def _time_unit(seconds: float) -> tuple[str, float]:
    if seconds < 180:
        return "s", 1.0
    return ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)


def _thin(samples: Sequence[Sample]) -> list[Sample]:
    """Keep, of each stretch of samples, the one with most memory, so that no peak is lost."""
    step = -(-len(samples) // MAX_POINTS) or 1
    stretches = (samples[i : i + step] for i in range(0, len(samples), step))
    return [max(stretch, key=lambda sample: sample.memory_bytes) for stretch in stretches]
