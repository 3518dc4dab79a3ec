"""Building a dataset: the whole job on real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from gpulab.errors import InputError
from gpulab.h5.build_job import build_job
from gpulab.h5.build_options import options_of
from gpulab.h5.build_pixels import resize_labels
from gpulab.h5.part import open_part
from gpulab.jobs import OutputFolder
from gpulab.testing import images as made
from gpulab.testing.forms import build_form

DATA = Path(__file__).parents[1] / "test-data" / "build"
SCRIPT = Path(__file__).parents[1] / "tools" / "h5_dataset" / "h5_dataset_build.py"


def params(**changes: Any) -> dict[str, Any]:
    """Return the form as Galaxy writes it when it is run untouched, with changes."""
    return {**build_form(), **changes}


NO_MASKS = {"with_masks": {"choice": "no"}}


def listed(**names: str | Path) -> list[dict[str, str]]:
    return [
        {"identifier": name, "path": str(path if isinstance(path, Path) else DATA / path)}
        for name, path in names.items()
    ]


def run(
    tmp_path: Path,
    images: list[dict[str, str]],
    masks: list[dict[str, str]] | None = None,
    table: Path | None = None,
    weights: Path | None = None,
    **changes: Any,
) -> Path:
    given_files = {
        "images": images,
        "masks": masks or [],
        "group_table": str(table) if table else None,
        "weight_table": str(weights) if weights else None,
    }
    if masks is None:
        changes = {**NO_MASKS, **changes}
    with OutputFolder(tmp_path / "out") as outputs:
        build_job({**params(**changes), "files": given_files}, outputs)
    return tmp_path / "out"


def refused(tmp_path: Path, message: str, *given_files: Any, **changes: Any) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path, *given_files, **changes)
    assert list((tmp_path / "out").iterdir()) == []


def test_untouched_form_on_pictures(tmp_path, capsys):
    images = listed(a="images/1.png", b="images/2.png", c="images/3.png")
    masks = listed(c="masks/3.png", a="masks/1.png", b="masks/2.png")
    out = run(tmp_path, images, masks, size={"height": 128, "width": 128})
    with open_part(out / "dataset.h5") as part:
        assert (part.n, part.height, part.width, part.channels, part.classes) == (3, 128, 128, 1, 2)
        assert part.one_hot
        assert part.images.dtype == np.float32
        assert part.sample_ids == ["a", "b", "c"]
        assert part.groups is None
        labels = part.read_labels(0, 3)
    truth = made.slices()[1][1:4]
    for index in range(3):
        np.testing.assert_array_equal(
            labels[index], resize_labels(truth[index], (128, 128), "nearest")
        )
    lines = (out / "samples.tabular").read_text().splitlines()
    assert lines[0].split("\t")[:3] == ["sample_id", "group", "source"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["a", "b", "c"]
    assert all(len(line.split("\t")) == 9 for line in lines)
    with Image.open(out / "preview.png") as preview:
        assert preview.size[0] > 300
    assert "2 classes (0: class 0, 255: class 1)" in capsys.readouterr().out


def test_kept_size_keeps_values_and_type(tmp_path):
    out = run(tmp_path, listed(a="images/1.png"), listed(a="masks/1.png"))
    with h5py.File(out / "dataset.h5") as file:
        assert file["images"].dtype == np.uint8
        np.testing.assert_array_equal(file["images"][0, ..., 0], made.slices()[0][1])
        np.testing.assert_array_equal(file["masks"][0, ..., 1], made.slices()[1][1])
        assert (file["masks"][...].sum(axis=-1) == 1).all()


def test_volume_dicom_and_nifti_give_the_same_dataset(tmp_path):
    volume, labels = made.hounsfield_volume()
    images = listed(d="images/series.zip", n="images/first.nii1", z="images/fourth.nii2.gz")
    mask = "masks/second.nii1.gz"
    masks = listed(d=mask, n=mask, z=mask)
    form = {**params()["with_masks"], "form": "numbers"}
    out = run(tmp_path, images, masks, with_masks=form)
    with open_part(out / "dataset.h5") as part:
        assert part.images.dtype == np.float32  # whole and rescaled values together
        assert part.sample_ids[:2] == ["d_s000", "d_s001"]
        assert part.groups == ["d"] * 4 + ["n"] * 4 + ["z"] * 4
        assert not part.one_hot and part.classes == 2
        for start in (0, 4, 8):
            np.testing.assert_array_equal(part.read_images(start, start + 4)[..., 0], volume)
            np.testing.assert_array_equal(part.read_labels(start, start + 4), labels)


def test_slices_with_foreground_and_every_nth(tmp_path):
    images, masks = listed(v="images/first.nii1"), listed(v="masks/second.nii1.gz")
    slices = {"axis": "axial", "choice": {"mode": "foreground"}}
    out = run(tmp_path, images, masks, slices=slices)
    with open_part(out / "dataset.h5") as part:
        assert part.sample_ids == ["v_s001", "v_s002", "v_s003"]
        assert (part.foreground_fraction() > 0).all()
    slices = {"axis": "axial", "choice": {"mode": "nth", "step": 3}}
    out = run(tmp_path, images, masks, slices=slices)
    with open_part(out / "dataset.h5") as part:
        assert part.sample_ids == ["v_s000", "v_s003"]
    refused(
        tmp_path / "b",
        "only be chosen with masks",
        images,
        slices={"axis": "axial", "choice": {"mode": "foreground"}},
    )


def test_window_as_whole_numbers(tmp_path):
    window = {"mode": "window", "window": {"preset": "lung"}, "kind": "uint8"}
    out = run(tmp_path, listed(v="images/first.nii1"), intensity=window)
    volume, _ = made.hounsfield_volume()
    with h5py.File(out / "dataset.h5") as file:
        assert file["images"].dtype == np.uint8
        expected = np.rint(np.clip((volume + 1350) / 1500 * 255, 0, 255))
        np.testing.assert_allclose(file["images"][..., 0], expected, atol=1)
        assert "masks" not in file
    refused(tmp_path / "b", "8 bits a pixel", listed(a="images/1.png"), intensity=window)


def test_groups_by_pattern_and_table(tmp_path):
    images = listed(
        **{"p1_a.png": "images/1.png", "p1_b.png": "images/2.png", "p2_a": "images/3.png"}
    )
    out = run(tmp_path, images, groups={"mode": "pattern", "pattern": r"(p\d)_"})
    with open_part(out / "dataset.h5", masks=None) as part:
        assert part.groups == ["p1", "p1", "p2"]
    table = tmp_path / "t"
    table.write_text("p1_a\tA\np1_b.png\tB\np2_a\tA\nspare\tC\n")
    out = run(tmp_path, images, table=table, groups={"mode": "table"})
    with open_part(out / "dataset.h5", masks=None) as part:
        assert part.groups == ["A", "B", "A"]
    table.write_text("p1_a\tA\n")
    refused(
        tmp_path / "b", "lacks 2 of 3 samples: p1_b, p2_a", images, None, table,
        groups={"mode": "table"},
    )  # fmt: skip
    refused(tmp_path / "c", "none was given", images, groups={"mode": "table"})


def test_weights_by_a_table(tmp_path):
    table = tmp_path / "t"
    table.write_text("sample\tweight\ns_s000\t3\ns\t0.5\n")
    out = run(tmp_path, listed(s="images/stack.tiff"), weights=table)
    with open_part(out / "dataset.h5", masks=None, weights="sample_weight") as part:
        assert part.weights.tolist() == [3.0] + [0.5] * (part.n - 1)
    images = listed(**{"a": "images/1.png", "b.png": "images/2.png", "s": "images/3.png"})
    table.write_text("sample\tweight\na\t2\nb\t0\ns\t0.5\nspare\tmany\n")
    out = run(tmp_path, images, weights=table)
    with open_part(out / "dataset.h5", masks=None, weights="sample_weight") as part:
        assert part.weights.tolist() == [2.0, 0.0, 0.5]
    for number, (text, message) in enumerate(
        (
            ("a\t1\n", "table of weights lacks 2 of 3 samples: b, s"),
            ("a\t-1\nb\t1\ns\t1\n", "gives a the weight -1, give numbers of 0 or more"),
            ("a\tinf\nb\t1\ns\t1\n", "gives a the weight inf"),
            ("a\tnan\nb\t1\ns\t1\n", "gives a the weight nan"),
            ("a\t0\nb\t0\ns\t0\n", "gives all samples 0"),
            ("a\t1\nb\t1\ns\n", "Line 3 of the table of weights has 1 columns"),
        )
    ):
        table.write_text(text)
        refused(tmp_path / str(number), message, images, None, None, table)


def test_colour_images(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    path = tmp_path / "c.png"
    Image.fromarray(colour).save(path)
    out = run(tmp_path, listed(a=path), colour="keep")
    with h5py.File(out / "dataset.h5") as file:
        np.testing.assert_array_equal(file["images"][0], colour)
    out = run(tmp_path, listed(a=path), colour="average")
    with h5py.File(out / "dataset.h5") as file:
        np.testing.assert_allclose(file["images"][0, ..., 0], colour.mean(axis=-1), atol=0.51)
    mixed = listed(a=path, b="images/1.png")
    refused(tmp_path / "b", r"number of channels: 3 \(a\) and 1 \(b\)", mixed, colour="keep",
            size={"height": 8, "width": 8})  # fmt: skip
    four = tmp_path / "four.tif"
    tifffile.imwrite(four, np.zeros((8, 8, 4), np.uint8), planarconfig="contig")
    refused(tmp_path / "c", "has 4 channels", listed(a=four))


def test_things_that_do_not_fit_together(tmp_path):
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(small)
    refused(tmp_path / "1", "a is 48 x 40 and b 9 x 9 pixels", listed(a="images/1.png", b=small))
    refused(tmp_path / "2", "differing types, uint8 .a. and uint16 .b.",
            listed(a="images/1.png", b="images/5.tiff"))  # fmt: skip
    refused(tmp_path / "3", "image is 48 x 40 pixels but the mask 40 x 40",
            listed(a="images/1.png"), listed(a="bad/small/1.png"))  # fmt: skip
    refused(tmp_path / "4", "48 x 40 pixels, 4 slices but the mask 48 x 40 pixels",
            listed(a="images/stack.tiff"), listed(a="masks/1.png"))  # fmt: skip
    refused(tmp_path / "5", "a NIfTI volume with an orientation but the mask a TIFF without",
            listed(a="images/first.nii1"), listed(a="masks/stack.tiff"))  # fmt: skip
    refused(tmp_path / "6", "All masks are empty",
            listed(a="images/1.png"), listed(a="bad/empty/1.png"))  # fmt: skip
    refused(tmp_path / "7", "Two samples would be called a_s000",
            listed(a="images/stack.tiff", a_s000="images/5.tiff"))  # fmt: skip
    refused(tmp_path / "8", "No slice has any foreground",
            listed(a="images/1.png"), listed(a="bad/empty/1.png"),
            with_masks={**params()["with_masks"], "values": {"mode": "list", "list": "0,255"}},
            slices={"axis": "axial", "choice": {"mode": "foreground"}})  # fmt: skip


def test_a_mask_elsewhere_in_space_is_refused(tmp_path):
    import nibabel

    _, labels = made.hounsfield_volume()
    moved = nibabel.Nifti1Image.from_bytes(made.nifti_bytes(labels))
    affine = moved.affine.copy()
    affine[2, 3] += 20.0  # four slices
    path = tmp_path / "moved.nii"
    path.write_bytes(nibabel.Nifti1Image(np.asarray(moved.dataobj), affine).to_bytes())
    refused(
        tmp_path / "1",
        "lies up to 16.0 voxels beside",
        listed(a="images/first.nii1"),
        listed(a=path),
    )
    lost = nibabel.Nifti1Image(np.asarray(moved.dataobj), moved.affine)
    lost.set_qform(None, 0)
    lost.set_sform(None, 0)
    path.write_bytes(lost.to_bytes())
    run(tmp_path, listed(a="images/first.nii1"), listed(a=path))


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    """A TIFF of 8 and one of 64 large slices: the peak of the second is not eight times higher."""
    import tracemalloc

    peaks = []
    for count in (8, 64):
        path = tmp_path / f"{count}.tif"
        with tifffile.TiffWriter(path) as writer:
            for _ in range(count):
                writer.write(
                    np.zeros((512, 512), np.uint16), contiguous=False, metadata=None,
                    photometric="minisblack", compression="zlib",
                )  # fmt: skip
        run(tmp_path, listed(a=path), size={"height": 64, "width": 64})
        tracemalloc.start()
        run(tmp_path, listed(a=path), size={"height": 512, "width": 512})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + (20 << 20)


def test_hostile_names_stay_in_their_cells(tmp_path):
    name = "a\tb\nc\x1b[31m$x$"
    out = run(tmp_path, [{"identifier": name, "path": str(DATA / "images/1.png")}])
    lines = (out / "samples.tabular").read_text().splitlines()
    assert len(lines) == 2
    assert len(lines[1].split("\t")) == 9


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"height": 0, "width": 5}},
        {"size": {"height": 9999, "width": 9999}},
        {"colour": "sepia"},
        {"slices": {"axis": "up", "choice": {"mode": "all"}}},
        {"slices": {"axis": "axial", "choice": {"mode": "nth", "step": -1}}},
        {"size": {}},
    ],
)
def test_parameters_are_checked(change):
    with pytest.raises(InputError):
        options_of(params(**change))


def test_the_script_tells_an_error_in_one_line(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(params()))
    names = {"images": listed(a="images/1.png"), "masks": listed(b="masks/1.png")}
    (tmp_path / "f.json").write_text(json.dumps(names))
    command = [sys.executable, SCRIPT, "--params", "p.json", "--files", "f.json"]
    root = str(SCRIPT.parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "images without a mask: a" in done.stderr
    assert not (tmp_path / "dataset.h5").exists()
