from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mask_jobs import make_params, run, table

from gpulab.masks.curves import Curve, draw_reliability
from gpulab.masks.histogram import ScoreHistogram, expected_calibration_error

# Bounds of bins belong to the lower bin, so they are drawn often.
PROBABILITY = st.one_of(
    st.floats(0, 1, width=32), st.sampled_from([float(np.float32(n / 10)) for n in range(11)])
)


def histogram_of(probabilities: Any, true: Any) -> ScoreHistogram:
    histogram = ScoreHistogram()
    half = len(true) // 2
    histogram.add(probabilities[:half], true[:half])
    histogram.add(probabilities[half:], true[half:])
    return histogram


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.float32, 40, elements=PROBABILITY), hnp.arrays(np.bool_, 40))
def test_bins_agree_with_all_pixels(probabilities: Any, true: Any) -> None:
    bins = histogram_of(probabilities, true).reliability()
    assert [(one.low, one.high) for one in bins] == [(n / 10, (n + 1) / 10) for n in range(10)]
    expected = 0.0
    for one in bins:
        inside = (probabilities > np.float32(one.low)) & (probabilities <= np.float32(one.high))
        if one.low == 0:
            inside |= probabilities == 0
        assert one.pixels == inside.sum()
        if one.pixels:
            mean = probabilities[inside].mean(dtype=np.float64)
            assert one.mean_probability == pytest.approx(mean)
            assert one.frequency == pytest.approx(true[inside].mean())
            expected += inside.mean() * abs(mean - true[inside].mean())
        else:
            assert math.isnan(one.mean_probability) and math.isnan(one.frequency)
    assert sum(one.pixels for one in bins) == 40
    error = expected_calibration_error(bins)
    assert error == pytest.approx(expected) and 0 <= error <= 1


def test_bins_agree_with_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(2)
    p = random.random(5000).astype(np.float32)
    true = random.random(5000) < p**2
    frequency, mean = calibration_curve(true, p, n_bins=10)
    bins = histogram_of(p, true).reliability()
    assert [one.frequency for one in bins] == pytest.approx(frequency)
    assert [one.mean_probability for one in bins] == pytest.approx(mean)


def test_true_probabilities_have_no_error_and_squared_ones_have() -> None:
    random = np.random.default_rng(3)
    p = random.random(200_000).astype(np.float32)
    true = random.random(200_000) < p
    assert expected_calibration_error(histogram_of(p, true).reliability()) < 0.005
    # The mean of p - p² over 0 to 1 is a sixth.
    squared = expected_calibration_error(histogram_of(p**2, true).reliability())
    assert squared == pytest.approx(1 / 6, abs=0.01)
    assert math.isnan(expected_calibration_error(ScoreHistogram().reliability()))


def test_the_plot_has_a_panel_a_model_and_class() -> None:
    random = np.random.default_rng(4)
    p = random.random(1000).astype(np.float32)
    histogram = histogram_of(p, p > 0.5)
    curves = [
        Curve(name, "lesion", (0.5,), False, histogram.curve(), histogram.reliability())
        for name in ("a", "b", "c", "d")
    ]
    figure = draw_reliability(curves)
    titled = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in titled] == [f"{name}: lesion" for name in "abcd"]
    drawn = titled[3].lines[1].get_xydata()
    assert np.asarray(drawn)[:, 1] == pytest.approx([0] * 5 + [1] * 5)


def test_reliability_is_an_output_on_request(tmp_path: Path) -> None:
    params = make_params(tmp_path, ["predict/model_exact.onnx"], "predict/part_exact.h5")
    params["outputs"] = ["reliability", "report"]
    out = run(params, tmp_path)
    rows = table(out / "reliability.tabular")
    assert len(rows) == 11
    filled = {row["up_to"]: row for row in rows if row["scope"] == "bin" and row["pixels"] != "0"}
    assert set(filled) == {"0.1", "1.0"}
    # 448 of the 768 pixels of which the model is sure are right, and it misses 64 of 6912.
    assert float(filled["1.0"]["observed_frequency"]) == pytest.approx(448 / 768, abs=1e-6)
    assert float(filled["0.1"]["observed_frequency"]) == pytest.approx(64 / 6912, abs=1e-6)
    assert rows[-1]["scope"] == "all" and rows[-1]["error"] == "0.050000"
    assert (out / "reliability.png").exists()
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "| model\\_exact | foreground | 0.0500 |" in report
    assert "| grey value 100 | foreground | 0.700 | 0.538 | 0.688 | 0.650 |" in report
    assert 'output="reliability_plot"' in report
