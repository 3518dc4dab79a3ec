"""The picture of memory and GPU over time."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpulab.notebook.records import CellTime, Sample
from gpulab.notebook.usage import draw_usage

GIB = 1 << 30
BLUE, ORANGE, RED = (0, 114, 178), (230, 159, 0), (213, 94, 0)


def samples(n: int, *, gpu: bool = False) -> list[Sample]:
    return [
        Sample(t / 2, (1 + t % 7) * GIB, 3, 2 * GIB if gpu else None, 50.0 if gpu else None)
        for t in range(n)
    ]


def drawn(path: Path) -> dict[tuple[int, ...], int]:
    """Number of pixels of each colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(map(int, c)): int(n) for c, n in zip(colours, counts, strict=True)}


def reddish(colours: dict[tuple[int, ...], int]) -> int:
    """Number of pixels in the colour of a failed cell, or in a pale tint of it."""
    pale = tuple(round(255 - 0.2 * (255 - part)) for part in RED)
    return sum(
        n for c, n in colours.items() if max(abs(a - b) for a, b in zip(c, pale, strict=True)) <= 3
    )


def test_memory_alone(tmp_path: Path) -> None:
    path = tmp_path / "usage.png"
    draw_usage(samples(100), [CellTime(1, 0, 20, "done"), CellTime(2, 20, 30, "done")], path)
    colours = drawn(path)
    assert colours[BLUE] > 500
    assert ORANGE not in colours
    assert reddish(colours) == 0


def test_gpu_and_failure_are_drawn(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.png", tmp_path / "usage.png"
    draw_usage(samples(100), [], plain)
    cells = [
        CellTime(1, 0, 20, "done"),
        CellTime(2, 20, 25, "failed"),
        CellTime(3, 0, 0, "skipped"),
    ]
    draw_usage(samples(100, gpu=True), cells, path)
    colours = drawn(path)
    assert colours[ORANGE] > 200
    assert reddish(colours) > 1000
    assert Image.open(path).height > Image.open(plain).height


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_samples(tmp_path: Path, count: int) -> None:
    path = tmp_path / "usage.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_usage(samples(count), [CellTime(1, 0.0, 0.0, "died")], path)
    assert Image.open(path).width == 1080


def test_a_gpu_that_tells_only_sometimes(tmp_path: Path) -> None:
    some = [Sample(0, GIB, 1), Sample(1, GIB, 1, GIB, None), Sample(2, GIB, 1, None, 5.0)]
    draw_usage(some, [], tmp_path / "usage.png")


def test_days_of_samples_and_a_thousand_cells(tmp_path: Path) -> None:
    path = tmp_path / "usage.png"
    many = [Sample(t, GIB if t != 123_456 else 9 * GIB, 1) for t in range(200_000)]
    cells = [CellTime(n + 1, n * 200, 200, "done") for n in range(1000)]
    begin = time.monotonic()
    draw_usage(many, cells, path)
    assert time.monotonic() - begin < 15
    # The one high sample is not lost: its line rises far above the others.
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows = np.flatnonzero((abs(pixels - BLUE).sum(axis=2) < 60).any(axis=1))
    assert np.ptp(rows) > pixels.shape[0] / 2


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    for path in (one, two):
        draw_usage(samples(50, gpu=True), [CellTime(1, 0, 9, "done")], path)
    assert one.read_bytes() == two.read_bytes()
