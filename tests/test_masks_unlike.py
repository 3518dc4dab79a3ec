from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_jobs import make_params, run

from gpulab.masks.unlike import Seen, differences
from gpulab.models.metadata import ModelMetadata

LEARNT = ModelMetadata(image_size=(128, 128), grey_values=(90.0, 60.0))


def images(height: int, width: int, mean: float, spread: float) -> Seen:
    """Half of the values lie `spread` below the mean and half above it."""
    seen = Seen()
    signs = np.where(np.arange(height * width) % 2, 1, -1)
    for _ in range(3):
        seen.add((mean + spread * signs).reshape(height, width, 1).astype(np.float32))
    return seen


@pytest.mark.parametrize(
    ("height", "width", "mean", "spread"),
    [
        (128, 128, 90, 60),
        (200, 250, 140, 70),  # brighter slices of nearly twice the size
        (65, 70, 0, 30),
    ],
)
def test_what_is_alike_is_not_spoken_of(
    height: int, width: int, mean: float, spread: float
) -> None:
    assert differences(images(height, width, mean, spread), LEARNT, "m") == []


@pytest.mark.parametrize(
    ("height", "width", "mean", "spread", "said"),
    [
        (512, 512, 90, 60, "128 × 128 pixels, these have 512 × 512. .* finer detail .* more at"),
        (256, 256, 90, 60, "128 × 128 pixels, these have 256 × 256"),
        (64, 64, 90, 60, "128 × 128 pixels, these have 64 × 64. .* coarser detail .* less at"),
        (128, 128, -600, 60, "values of 90 ± 60 .* these images have -600 ± 60"),
        (128, 128, 90, 400, "values of 90 ± 60 .* these images have 90 ± 400"),
        (128, 128, 0.35, 0.24, "values of 90 ± 60 .* these images have 0.35 ± 0.24"),
    ],
)
def test_what_is_unlike_is_said(
    height: int, width: int, mean: float, spread: float, said: str
) -> None:
    (note,) = differences(images(height, width, mean, spread), LEARNT, "m")
    assert note.startswith("The model 'm' learnt from ")
    assert re.search(said, note)


def test_both_may_be_said() -> None:
    assert len(differences(images(512, 512, -600, 400), LEARNT, "m")) == 2


def test_a_model_that_says_nothing_is_compared_with_nothing() -> None:
    seen = images(512, 512, -600, 400)
    assert differences(seen, None, "m") == []
    assert differences(seen, ModelMetadata(), "m") == []
    assert differences(Seen(), LEARNT, "m") == []


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8), min_size=1))
def test_mean_and_deviation_are_numpys(rows: list[list[float]]) -> None:
    seen = Seen()
    for row in rows:
        seen.add(np.array(row, np.float32)[None, :, None])
    values = np.concatenate([np.array(row, np.float64) for row in rows])
    assert seen.values.mean == pytest.approx(values.mean(), abs=1e-6)
    assert seen.values.deviation == pytest.approx(values.std(), abs=1e-3)
    assert seen.size[0] == 1 and seen.size[1] in {len(row) for row in rows}


def test_log_and_report_tell_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = make_params(
        tmp_path, ["predict/model_bce.onnx", "predict/model_tv.onnx"], "part_test.h5"
    )
    params["outputs"] = ["report"]
    report = (run(params, tmp_path) / "report.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "Please note: The model 'model_bce' learnt from images of 256 × 256 pixels" in printed
    assert r"> **Please note:** The model 'model\_bce' learnt from images of 256 × 256" in report
    assert "The model 'model_tv' learnt" not in printed + report.replace("\\", "")
