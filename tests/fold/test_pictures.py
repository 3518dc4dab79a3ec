"""The pictures: what they show, not how it looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from inputs import made_up_fold

from gpulab.fold import pictures
from gpulab.report.figures import save_figure


@pytest.mark.parametrize(
    ("plddt", "name"),
    [(100, "very high"), (90, "very high"), (89.9, "confident"), (70, "confident"), (50, "low"),
     (49.9, "very low"), (0, "very low")],
)  # fmt: skip
def test_bands(plddt: float, name: str) -> None:
    assert pictures.band(plddt).name == name


def test_a_line_for_each_model_and_between_chains(tmp_path: Path) -> None:
    fold = made_up_fold(tmp_path, chains=("PIAQ", "IHI", "IHI"))
    axis = pictures.draw_plddt(fold).axes[0]
    curves = [line for line in axis.lines if len(line.get_xdata()) == 10]
    assert [list(line.get_ydata()) for line in curves] == [list(m.plddt) for m in fold.models]
    assert [line.get_xdata()[0] for line in axis.lines if line not in curves] == [4.5, 7.5]
    assert {"A", "B", "C"} <= {text.get_text() for text in axis.texts}


def test_a_square_for_each_model(tmp_path: Path) -> None:
    fold = made_up_fold(tmp_path)
    figure = pictures.draw_pae(fold)
    squares = [axis.images[0] for axis in figure.axes if axis.images]
    assert len(squares) == 2
    assert squares[0].get_array().shape == (10, 10)
    assert squares[0].get_array()[0, 9] == 9
    assert squares[0].get_clim() == (0, 31.75)


def test_large_matrices_are_thinned(tmp_path: Path) -> None:
    fold = made_up_fold(tmp_path)
    size = pictures.MAX_PAE_PIXELS + 100
    large = replace(fold.best, pae=[[1.0] * size] * size)
    image = pictures.draw_pae(replace(fold, models=(large,))).axes[0].images[0]
    assert max(image.get_array().shape) <= pictures.MAX_PAE_PIXELS
    assert image.get_extent() == [0.5, size + 0.5, size + 0.5, 0.5]


def test_networks_without_pae_have_an_overview_all_the_same(tmp_path: Path) -> None:
    fold = made_up_fold(tmp_path, label="$no formula$")
    without = replace(fold, name="a_$b$", models=(replace(fold.best, pae=None),))
    assert not pictures.has_pae(without)
    assert pictures.has_pae(fold)
    save_figure(pictures.draw_overview([fold, without]), tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes()[:4] == b"\x89PNG"
