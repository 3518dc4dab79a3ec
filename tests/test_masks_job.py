from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from mask_jobs import Params, make_params, run, table

from gpulab.errors import InputError


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Params]:
    return partial(make_params, tmp_path)


def test_exact_scores_of_an_exact_model(make: Callable[..., Params], tmp_path: Path) -> None:
    out = run(make(["predict/model_exact.onnx"], "predict/part_exact.h5"), tmp_path)
    rows = {row["sample_id"] or row["scope"]: row for row in table(out / "metrics.tabular")}
    assert [rows[n]["dice"] for n in ("same", "shifted", "not there", "empty")] == [
        "1.000000",
        "0.750000",
        "0.000000",
        "1.000000",
    ]
    assert rows["shifted"]["iou"] == "0.600000" and rows["shifted"]["hausdorff95"] == "4.000000"
    assert rows["not there"]["hausdorff95"] == "inf" and rows["not there"]["auc"] == "NaN"
    assert rows["empty"]["note"].startswith("both masks are empty")
    # Pooled: 256 + 192 of 512 true and 768 predicted pixels.
    assert float(rows["pooled"]["dice"]) == pytest.approx(2 * 448 / (512 + 768), abs=1e-6)
    assert float(rows["mean"]["dice"]) == pytest.approx(2.75 / 4)
    assert "mean of 2 of 4 images" in rows["pooled"]["note"]
    assert rows["same"]["model"] == "model_exact" and rows["same"]["class"] == "foreground"
    with h5py.File(out / "masks.h5") as file:
        assert file["masks"].shape == (4, 40, 48, 1) and file["masks"].dtype == np.uint8
        assert file["masks"].attrs["threshold"] == 0.5
        assert [int(m.sum()) for m in file["masks"][:]] == [256, 256, 256, 0]
        assert file["sample_ids"].asstr()[1] == "shifted"
    import tifffile

    names = sorted(path.name for path in (out / "tiff_masks").iterdir())
    assert names == ["empty.tiff", "not_there.tiff", "same.tiff", "shifted.tiff"]
    tiff = tifffile.imread(out / "tiff_masks" / "same.tiff")
    assert tiff.dtype == np.uint8 and set(np.unique(tiff)) == {0, 255} and tiff.shape == (40, 48)


def test_two_models_and_two_thresholds_have_a_column_each(
    make: Callable[..., Params], tmp_path: Path
) -> None:
    params = make(["predict/model_bce.onnx", "predict/model_tv.onnx"], "part_test.h5")
    params |= {"thresholds": "0.1, 0.3", "probabilities": "float16"}
    out = run(params, tmp_path)
    with h5py.File(out / "masks.h5") as file:
        assert set(file) == {
            "sample_ids",
            "masks_model_bce_threshold_0.1",
            "masks_model_bce_threshold_0.3",
            "masks_model_tv_threshold_0.1",
            "masks_model_tv_threshold_0.3",
            "probabilities_model_bce",
            "probabilities_model_tv",
        }
        p = file["probabilities_model_tv"]
        assert p.shape == (8, 64, 64, 2) and p.dtype == np.float16
        assert json.loads(p.attrs["class_names"]) == ["background", "lesion"]
        assert file["masks_model_tv_threshold_0.1"].attrs["loss"] == "BCE + TV"
    rows = table(out / "metrics.tabular")
    assert {(r["model"], r["threshold"]) for r in rows} == {
        (m, t) for m in ("model_bce", "model_tv") for t in ("0.1", "0.3")
    }
    assert len(rows) == 4 * (8 + 2)
    assert len(table(out / "threshold_curve.tabular")) == 2 * 19
    assert len(list((out / "tiff_masks").iterdir())) == 4 * 8
    report = (out / "report.md").read_text(encoding="utf-8")
    assert report.count("history_dataset_as_image") == 3 and "BCE \\+ TV" in report
    from PIL import Image

    with Image.open(out / "figure.png") as figure:
        assert figure.width > 6 * 250


def test_models_use_their_own_threshold(make: Callable[..., Params], tmp_path: Path) -> None:
    out = run(
        make(["predict/model_bce.onnx", "predict/model_exact.onnx"], "part_test.h5"), tmp_path
    )
    found = {(r["model"], r["threshold"]) for r in table(out / "metrics.tabular")}
    assert found == {("model_bce", "0.4"), ("model_exact", "0.5")}


def test_without_true_masks_everything_but_the_scores_comes(
    make: Callable[..., Params], tmp_path: Path
) -> None:
    out = run(make(["predict/model_bce.onnx"], "part_test.h5", None), tmp_path)
    names = {path.name for path in out.iterdir()}
    assert names == {"masks.h5", "tiff_masks", "figure.png", "overlay.png", "report.md"}
    assert "nothing was scored" in (out / "report.md").read_text(encoding="utf-8")


def test_the_same_parameters_give_the_same_pictures_and_tables(
    make: Callable[..., Params], tmp_path: Path
) -> None:
    params = make(["predict/model_bce.onnx"], "part_test.h5")
    first = {p.name: p.read_bytes() for p in run(params, tmp_path).glob("*.[pt]*") if p.is_file()}
    second = {p.name: p.read_bytes() for p in run(params, tmp_path).glob("*.[pt]*") if p.is_file()}
    assert len(first) == 5 and first == second


@pytest.mark.parametrize("mode", ["auto", "pad", "tile"])
def test_a_model_of_fixed_size(make: Callable[..., Params], tmp_path: Path, mode: str) -> None:
    params = make(["predict/model_foreign_logits.onnx"], "predict/part_exact.h5")
    params["reading"]["activation"] = "logits"
    params["fitting"]["mode"] = mode
    if mode == "pad":
        with pytest.raises(InputError, match=r"40 x 48 pixels .* at most 32 .* choose tiling"):
            run(params, tmp_path)
        return
    out = run(params, tmp_path)
    rows = {row["sample_id"]: row for row in table(out / "metrics.tabular")}
    assert rows["same"]["dice"] == "1.000000"
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "say nothing about themselves" in report and "windows of 32 × 32" in report


def test_chosen_samples_and_odd_ones(make: Callable[..., Params], tmp_path: Path) -> None:
    params = make(["predict/model_exact.onnx"], "predict/part_exact.h5")
    params["drawing"]["samples"] = "shifted, 0"
    run(params, tmp_path)
    params["drawing"]["samples"] = "nobody"
    with pytest.raises(InputError, match=r"no sample 'nobody'.*numbers from 0 to 3"):
        run(params, tmp_path)
    params["drawing"]["samples"] = ""
    params["thresholds"] = "0.1, 7"
    with pytest.raises(InputError, match="'7' is no number between 0 and 1"):
        run(params, tmp_path)


def test_names_that_are_not_there_are_listed(make: Callable[..., Params], tmp_path: Path) -> None:
    params = make(["predict/model_exact.onnx"], "combined.h5")
    with pytest.raises(InputError, match=r"images.*X_train"):
        run(params, tmp_path)
    params["images"] |= {"images_name": "y"}
    params["images"]["truth"]["masks_name"] = "label_test"
    assert (run(params, tmp_path) / "metrics.tabular").exists()


def test_image_files_of_differing_sizes(make: Callable[..., Params], tmp_path: Path) -> None:
    from PIL import Image

    params = make(["predict/model_exact.onnx"], "predict/part_exact.h5")
    images, masks = [], []
    for name, size in (("a", (20, 30)), ("b", (50, 17))):
        picture = np.zeros(size, dtype=np.uint8)
        picture[3:9, 4:12] = 100
        for kind, folder, values in (
            ("image", images, picture),
            ("mask", masks, (picture > 0) * np.uint8(255)),
        ):
            path = tmp_path / f"{kind}_{name}"
            Image.fromarray(values).save(path, format="PNG")
            folder.append({"element_identifier": [name], "source_path": str(path), "ext": "png"})
    truth = {"known": "yes", "mask_files": masks}
    params["images"] = {"kind": "collection", "image_files": images, "truth": truth}
    out = run(params, tmp_path)
    with h5py.File(out / "masks.h5") as file:
        assert file["masks/a"].shape == (20, 30, 1) and file["masks/b"].shape == (50, 17, 1)
    assert {row["dice"] for row in table(out / "metrics.tabular")} == {"1.000000"}


def test_the_script_answers_errors_with_one_line_and_exit_code_2(
    make: Callable[..., Params], tmp_path: Path
) -> None:
    params = make(["predict/bad_classifier.onnx"], "predict/part_exact.h5")
    (tmp_path / "params.json").write_text(json.dumps(params), encoding="utf-8")
    script = Path(__file__).parents[1] / "tools" / "unet_predict" / "unet_predict.py"
    (tmp_path / "job").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), "--params", str(tmp_path / "params.json")],
        cwd=tmp_path / "job",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "is not a mask model" in done.stderr
    assert list((tmp_path / "job").iterdir()) == []


def test_true_masks_with_more_classes_than_the_model(
    make: Callable[..., Params], tmp_path: Path
) -> None:
    params = make(["predict/model_exact.onnx"], "predict/part_exact.h5")
    with h5py.File(tmp_path / "part_exact.h5", "r+") as file:
        file["masks"][0, 0, 0] = 3
    with pytest.raises(InputError, match=r"4 classes .* knows 2"):
        run(params, tmp_path)
