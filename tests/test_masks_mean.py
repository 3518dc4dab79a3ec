from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mask_jobs import item, make_params, run, table

from gpulab.errors import InputError
from gpulab.masks.collect import Origin
from gpulab.masks.decide import to_labels
from gpulab.masks.mean import MeanOfModels, check_alike, mean_of
from gpulab.masks.predict import Predictor
from gpulab.masks.sources import Sample
from gpulab.masks.windows import Fit
from gpulab.models.metadata import ModelMetadata, write_metadata
from gpulab.models.session import open_model
from gpulab.testing import onnx_models as tiny

BOTH = ["predict/model_bce.onnx", "predict/model_tv.onnx"]
ONE = Origin("one", "one", "BCE", 0.4, 0.8, ("background", "left", "right"), True)


def sided_model(path: Path) -> Path:
    """Write a model whose foreground is the value times the place from left (0) to right (1)."""
    nodes = [tiny.node("Mul", ["image", "place"], ["mask"])]
    place = np.linspace(0, 1, 24)[None, None, :, None]
    shape = (None, 16, 24, 1)
    constants = [tiny.constant("place", place)]
    tiny.save(tiny.make_model(nodes, constants=constants, image=shape, mask=shape), path)
    return path


@pytest.mark.parametrize("size", [(16, 24), (20, 61)])
def test_the_mirrored_image_is_averaged(tmp_path: Path, size: tuple[int, int]) -> None:
    model = open_model(sided_model(tmp_path / "sided.onnx"), "sided", channels=1)
    random = np.random.default_rng(1)
    images = [random.random((*size, 1), dtype=np.float32) for _ in range(3)]
    samples = [Sample(n, f"s{n}", image, None) for n, image in enumerate(images)]
    plain = [p for _, p in Predictor(model, Fit(), 2).run(samples)]
    both = [p for _, p in Predictor(model, Fit(), 2, flips=True).run(samples)]
    mirrored_samples = [replace(s, image=s.image[:, ::-1]) for s in samples]
    mirrored = [p[:, ::-1] for _, p in Predictor(model, Fit(), 2).run(mirrored_samples)]
    for number, found in enumerate(both):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, (plain[number] + mirrored[number]) / 2, atol=1e-6)
        # Left and right count the same now: value · (place + 1 - place) / 2.
        if size == (16, 24):
            np.testing.assert_allclose(found[..., 1:], images[number] / 2, atol=1e-6)
        assert not np.allclose(found, plain[number], atol=0.05)


# What the form says, what the model says of itself, and whether its mirrored image counts.
@pytest.mark.parametrize(
    ("said", "mirrored", "wanted"),
    [
        ({"flips": "true"}, False, True),
        ({"flips": "false"}, True, False),
        ({"flips": "auto"}, True, True),
        ({"flips": "auto"}, False, False),
        ({"flips": "auto"}, None, False),
        ({}, True, True),
        ({"flips": True}, False, True),  # forms and workflows of earlier versions
        ({"flips": False}, True, False),
    ],
)
def test_form_and_model_decide_on_the_mirrored_image(
    tmp_path: Path, said: dict[str, Any], mirrored: bool | None, wanted: bool
) -> None:
    params = make_params(tmp_path, BOTH[:1], "predict/part_exact.h5")
    model = sided_model(tmp_path / "sided.onnx")
    if mirrored is not None:
        metadata = ModelMetadata(("background", "sided"), mirrored=mirrored)
        write_metadata(model, metadata)
    params["models"] = [item(model)]
    part = tmp_path / "part_exact.h5"
    part.unlink()
    images = np.random.default_rng(0).random((3, 16, 24, 1), dtype=np.float32)
    masks = images[..., 0] > 0.5
    tiny.write_arrays(part, {"images": images, "masks": masks.astype(np.uint8)})
    params |= {"outputs": ["report"], "probabilities": "float32", "prediction": said}
    out = run(params, tmp_path)
    with h5py.File(out / "masks.h5") as file:
        found = file["probabilities"][..., 1:]
    # Left and right count the same where both were averaged.
    assert np.allclose(found, images / 2, atol=1e-6) == wanted
    report = (out / "report.md").read_text(encoding="utf-8")
    assert (
        "Each model predicted each image as it is and mirrored left to right" in report
    ) == wanted


def test_the_report_names_the_models_that_took_the_mirrored_image(tmp_path: Path) -> None:
    params = make_params(tmp_path, BOTH, "part_test.h5")
    params |= {"outputs": ["report"], "prediction": {"flips": "auto"}}
    report = (run(params, tmp_path) / "report.md").read_text(encoding="utf-8")
    assert r"These models: model\_tv, predicted each image as it is and mirrored" in report


def mean_params(tmp_path: Path, models: list[str]) -> dict[str, Any]:
    params = make_params(tmp_path, models, "part_test.h5")
    params |= {"prediction": {"flips": False, "mean": True}, "probabilities": "float32"}
    return params


def test_the_mean_of_models_is_written_scored_and_drawn(tmp_path: Path) -> None:
    params = mean_params(tmp_path, BOTH)
    params["outputs"] += ["reliability"]
    out = run(params, tmp_path)
    with h5py.File(tmp_path / "part_test.h5") as part:
        truth = part["masks"][..., 1] > 0
    with h5py.File(out / "masks.h5") as file:
        one, two = (file[f"probabilities_model_{name}"][:] for name in ("bce", "tv"))
        mean = file["probabilities_mean"][:]
        np.testing.assert_allclose(mean, (one + two) / 2, atol=1e-7)
        assert mean.max() <= 1
        assert file["masks_mean"].attrs["model"] == "Mean of 2 models"
        assert file["masks_mean"].attrs["threshold"] == pytest.approx(0.45)
        thresholds = file["image_thresholds_mean"][:]
        assert thresholds.dtype == np.float32 and thresholds.shape == (8, 1)
        assert 0.225 <= thresholds.min() < thresholds.max() <= np.float32(0.45)
        expected = np.stack([to_labels(p, t) for p, t in zip(mean, thresholds, strict=True)])
        np.testing.assert_array_equal(file["masks_mean"][..., 0], expected)
    rows = [r for r in table(out / "metrics.tabular") if r["model"] == "Mean of 2 models"]
    assert len(rows) == 8 + 2 and {r["threshold"] for r in rows} == {"0.45"}
    images = [r for r in rows if r["scope"] == "image"]
    assert [r["image_threshold"] for r in images] == [f"{t:.3f}" for t in thresholds[:, 0]]
    assert {r["image_threshold"] for r in rows if r["scope"] != "image"} == {""}
    overlap = (truth & (expected > 0)).sum()
    dice = 2 * overlap / (truth.sum() + (expected > 0).sum())
    assert float(rows[0]["dice"]) == pytest.approx(dice, abs=1e-6)
    assert len(table(out / "threshold_curve.tabular")) == 3 * 19
    assert len(table(out / "reliability.tabular")) == 3 * 11
    assert len(list((out / "tiff_masks").glob("mean__*.tiff"))) == 8
    report = (out / "report.md").read_text(encoding="utf-8")
    used = f"{thresholds.min():.2g} to {thresholds.max():.2g}"
    assert f"| Mean of 2 models | – | 0.45, by image {used} |" in report
    assert "were cut at a lower threshold than its own" in report and "say nothing" not in report
    # Nothing of what was kept meanwhile is left.
    names = {path.name for path in out.iterdir()}
    assert not [name for name in names if name.startswith((".", "mean"))]


def test_one_threshold_for_all_images(tmp_path: Path) -> None:
    params = mean_params(tmp_path, BOTH[:1]) | {"adapt": False}
    out = run(params, tmp_path)
    with h5py.File(out / "masks.h5") as file:
        assert "image_thresholds" not in file
        threshold = file["masks"].attrs["threshold"]
        expected = to_labels(file["probabilities"][:], threshold)
        np.testing.assert_array_equal(file["masks"][..., 0], expected)
    rows = table(out / "metrics.tabular")
    assert {r["image_threshold"] for r in rows} == {"", f"{threshold:.3f}"}
    assert "a lower threshold than its own" not in (out / "report.md").read_text(encoding="utf-8")


def test_the_mean_at_given_thresholds(tmp_path: Path) -> None:
    params = mean_params(tmp_path, BOTH)
    params |= {"thresholds": "0.1, 0.3", "outputs": [], "probabilities": "no"}
    out = run(params, tmp_path)
    with h5py.File(out / "masks.h5") as file:
        assert {"masks_mean_threshold_0.1", "masks_mean_threshold_0.3"} < set(file)
        assert not [name for name in file if name.startswith("image_thresholds")]
    rows = table(out / "metrics.tabular")
    assert len(rows) == 3 * 2 * (8 + 2)


def test_one_model_has_no_mean_and_that_is_said(tmp_path: Path, capsys: Any) -> None:
    params = mean_params(tmp_path, BOTH[:1])
    params["outputs"] = ["report"]
    out = run(params, tmp_path)
    assert "so there is no mean" in capsys.readouterr().out
    assert "so there is no mean" in (out / "report.md").read_text(encoding="utf-8")
    with h5py.File(out / "masks.h5") as file:
        assert set(file) == {"sample_ids", "masks", "probabilities", "image_thresholds"}


def test_models_of_other_classes_have_no_mean(tmp_path: Path) -> None:
    params = mean_params(tmp_path, BOTH[:1])
    nodes = [tiny.node("Softmax", ["three"], ["mask"], axis=-1)]
    nodes.insert(0, tiny.node("Concat", ["image"] * 3, ["three"], axis=-1))
    path = tmp_path / "three.onnx"
    tiny.save(tiny.make_model(nodes, mask=("batch", "height", "width", 3)), path)
    params["models"].append(item(path))
    with pytest.raises(InputError, match=r"'model_bce' knows 2 .* 'three' knows 3.*no mean"):
        run(params, tmp_path)
    # Without the mean both are welcome.
    params["prediction"]["mean"] = False
    params["outputs"] = []
    assert (run(params, tmp_path) / "masks.h5").exists()


def test_classes_of_the_same_names_must_have_the_same_order(capsys: Any) -> None:
    check_alike(ONE, replace(ONE, label="two"))
    check_alike(ONE, replace(ONE, class_names=("background", "right", "left"), names_known=False))
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="'one' and 'two' have the same classes in another order"):
        check_alike(ONE, replace(ONE, label="two", class_names=("background", "right", "left")))
    check_alike(ONE, replace(ONE, class_names=("background", "a", "b")))
    assert "name their classes differently" in capsys.readouterr().out


def test_the_mean_has_a_name_of_its_own() -> None:
    nameless = ("background", "class_1", "class_2")
    first = Origin("Mean of 3 models", "Mean_of_3_models", "BCE", 0.2, 0.6, nameless, False)
    mean = mean_of([first, ONE, Origin("mean", "mean", "BCE", 0.6, 1.0, ONE.class_names, True)])
    assert (mean.label, mean.key) == ("Mean of 3 models (2)", "mean_2")
    assert mean.loss == "BCE" and mean.threshold == pytest.approx(0.4)
    assert mean.class_names == ONE.class_names
    assert mean.sure_dice == pytest.approx(0.8)
    assert mean_of([ONE, replace(ONE, loss="TV")]).loss == ""
    assert mean_of([ONE, replace(ONE, sure_dice=0.0)]).sure_dice == 0.0


def test_images_of_differing_sizes_are_averaged_on_disk(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = [(4, 5, 2), (3, 7, 2)]
    answers = [[random.random(s, dtype=np.float32) for s in shapes] for _ in range(3)]
    samples = [
        Sample(n, f"s{n}", np.zeros((*s[:2], 1), np.float32), None) for n, s in enumerate(shapes)
    ]
    path = tmp_path / "mean.h5"
    two = replace(ONE, class_names=("background", "lesion"))
    with MeanOfModels(path) as mean:
        for values in answers:
            list(mean.taking(two, zip(samples, values, strict=True)))
        found = [values for _, values in mean.stream(samples)]
        assert path.exists()
    for number, values in enumerate(found):
        expected = np.mean([one[number] for one in answers], axis=0)
        np.testing.assert_allclose(values, expected, atol=1e-6)
    assert not path.exists()
