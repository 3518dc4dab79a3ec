"""Building a dataset: names, classes, pixels, groups, and the whole job on real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpulab.errors import InputError
from gpulab.h5.build_classes import Classes, ClassRule, ValueSurvey, parse_classes
from gpulab.h5.build_job import build_job
from gpulab.h5.build_names import NamePattern, match, read_table, stem
from gpulab.h5.build_options import WINDOWS, Window, options_of
from gpulab.h5.build_pixels import (
    apply_window,
    mask_values,
    one_hot,
    resize_image,
    resize_labels,
    to_grey,
)
from gpulab.h5.images import SourceFile
from gpulab.h5.part import open_part
from gpulab.jobs import OutputFolder
from gpulab.testing import images as made

DATA = Path(__file__).parents[1] / "test-data" / "build"
SCRIPT = Path(__file__).parents[1] / "tools" / "h5_dataset" / "h5_dataset_build.py"


def files(*names: str, role: str = "image") -> list[SourceFile]:
    return [SourceFile(name, Path("nowhere"), role) for name in names]


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a"),
        ("a.JPEG", "a"),
        ("a.nii.gz", "a"),
        ("a.nii1.gz", "a"),
        ("a.ome.tif", "a"),
        ("patient.v2", "patient.v2"),
        (".png", ".png"),
        ("12", "12"),
    ],
)
def test_endings(name, expected):
    assert stem(name) == expected


def test_match_by_name_keeps_the_order_of_images():
    pairs = match(files("b.jpg", "a.jpg"), files("a.png", "b.png", role="mask"))
    assert [(p.name, p.image.identifier, p.mask.identifier) for p in pairs] == [
        ("b", "b.jpg", "b.png"),
        ("a", "a.jpg", "a.png"),
    ]


def test_match_names_what_is_alone():
    with pytest.raises(InputError) as caught:
        match(files(*"abcdefgh"), files("a", "x", role="mask"))
    text = str(caught.value)
    assert "7 images without a mask: b, c, d, e, f and 2 more" in text
    assert "1 masks without an image: x" in text


def test_match_refuses_the_same_name_twice():
    with pytest.raises(InputError, match=r"a\.png and a\.jpg have the same name"):
        match(files("a.png", "a.jpg"), None)
    with pytest.raises(InputError, match="There is no image"):
        match([], None)
    two = NamePattern(r"_(\d)", "names")
    with pytest.raises(InputError, match="masks m_1 and n_1"):
        match(files("i_1"), files("m_1", "n_1", role="mask"), two, two)


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=20),
    min_size=1,
    max_size=15,
    unique=True,
)


@settings(deadline=None)
@given(names=NAMES, data=st.data())
def test_match_finds_every_mask_in_any_order(names, data):
    shuffled = data.draw(st.permutations(names))
    pairs = match(
        files(*[name + ".png" for name in names]),
        files(*[name + ".nii.gz" for name in shuffled], role="mask"),
    )
    assert [pair.image.identifier[:-4] for pair in pairs] == names
    assert all(p.mask.identifier == p.image.identifier[:-4] + ".nii.gz" for p in pairs)


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=15, unique=True))
def test_match_by_pattern(numbers):
    pairs = match(
        files(*[f"image_{n}.png" for n in numbers]),
        files(*[f"seg-{n}-final.png" for n in reversed(numbers)], role="mask"),
        NamePattern(r"image_(\d+)", "names of images"),
        NamePattern(r"seg-(\d+)-", "names of masks"),
    )
    for number, pair in zip(numbers, pairs, strict=True):
        assert pair.image.identifier == f"image_{number}.png"
        assert pair.mask.identifier == f"seg-{number}-final.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "between 1 and 200"),
        ("x" * 201, "between 1 and 200"),
        (r"(\d+", "no regular expression"),
        (r"\d+", "0 groups"),
        (r"(\d)(\d)", "2 groups"),
        (r"(a{99999999999})", "no regular expression"),
    ],
)
def test_patterns_that_cannot_be_used(text, message):
    with pytest.raises(InputError, match=message):
        NamePattern(text, "names")


def test_pattern_names_what_it_does_not_fit():
    with pytest.raises(InputError, match="does not fit b, c"):
        NamePattern(r"a(\d)", "names").keys(["a1", "b", "c"])


def test_a_catastrophic_pattern_is_stopped():
    start = time.monotonic()
    with pytest.raises(InputError, match="takes longer than 2 seconds"):
        NamePattern(r"((?:a+)+)$", "names").keys(["a" * 60 + "!"])
    assert time.monotonic() - start < 4


def test_patterns_work_outside_the_main_thread():
    found: list[list[str]] = []
    thread = threading.Thread(
        target=lambda: found.append(NamePattern(r"(\d+)", "names").keys(["a1"]))
    )
    thread.start()
    thread.join()
    assert found == [["1"]]


def test_table_of_groups(tmp_path):
    path = tmp_path / "t"
    path.write_text("name\tpatient\na\t1\n\nb\t2\n", encoding="utf-8")
    assert read_table(path) == {"name": "patient", "a": "1", "b": "2"}
    for text, message in (
        ("a\t1\na\t2\n", "puts a into 1 and into 2"),
        ("a\n", "Line 1 of the table of groups has 1 columns"),
        ("a\t1\t2\n", "has 3 columns"),
        ("a\t\n", "an empty one"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_table(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(path)


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1,2", {0: 0, 1: 1, 2: 2}),
        (" 0 , 255 ", {0: 0, 255: 1}),
        ("0:0,255:1", {0: 0, 255: 1}),
        ("0:0,1:1,2:1", {0: 0, 1: 1, 2: 1}),
        ("7:1, 9:0", {7: 1, 9: 0}),
    ],
)
def test_lists_of_values(text, expected):
    assert parse_classes(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not understood"),
        ("a,b", "not understood"),
        ("0,1:1", "not understood"),
        ("-1,0", "not understood"),
        ("0,0", "every value once"),
        ("0:0,0:1", "every value once"),
        ("0,99999", "none above"),
        ("0:0,1:2", "without a gap"),
        ("0:0", "at least 2"),
        ("5:1,6:2", "without a gap"),
        (",".join(map(str, range(65))), "at most 64"),
        ("1," * 1001, "too long"),
    ],
)
def test_lists_of_values_that_cannot_be_used(text, message):
    with pytest.raises(InputError, match=message):
        parse_classes(text)


def classes_of(*masks: np.ndarray, rule: ClassRule | None = None, lossy: bool = False) -> Classes:
    survey = ValueSurvey(rule or ClassRule())
    for mask in masks:
        survey.add(SourceFile("m", Path("nowhere"), "mask"), mask, lossy)
    return survey.classes()


@settings(deadline=None)
@given(
    values=st.sets(st.integers(1, 65535), min_size=1, max_size=7),
    dtype=st.sampled_from([np.uint16, np.int32, np.float32, np.float64]),
    data=st.data(),
)
def test_automatic_classes_are_the_sorted_values(values, dtype, data):
    ordered = [0, *sorted(values)]
    picked = data.draw(st.lists(st.sampled_from(ordered), min_size=9, max_size=9))
    mask = np.array(picked + ordered).astype(dtype)
    found = classes_of(mask, np.zeros((2, 2), dtype))
    assert found.count == len(ordered)
    assert found.apply(mask).tolist() == [ordered.index(value) for value in [*picked, *ordered]]


@settings(deadline=None)
@given(data=st.data())
def test_a_list_joins_values(data):
    values = data.draw(st.lists(st.integers(0, 999), min_size=2, max_size=12, unique=True))
    classes = data.draw(st.integers(2, len(values)))
    numbers = [index % classes for index in range(len(values))]
    rule = ClassRule("list", parse_classes(",".join(map("{}:{}".format, values, numbers))))
    mask = np.array(data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=20)))
    found = classes_of(mask, rule=rule)
    assert found.count == classes
    expected = dict(zip(values, numbers, strict=True))
    assert found.apply(mask).tolist() == [expected[value] for value in mask.tolist()]


def test_automatic_classes_of_all_masks_together():
    found = classes_of(np.array([0, 2]), np.array([0, 5]))
    assert found.apply(np.array([0, 2, 5])).tolist() == [0, 1, 2]
    assert found.description == "0: class 0, 2: class 1, 5: class 2"


@pytest.mark.parametrize(
    ("mask", "rule", "message"),
    [
        (np.arange(20), ClassRule(), "more than 8 different values"),
        (np.array([0, 0.5]), ClassRule(), "broken numbers such as 0.5"),
        (np.array([-1, 0]), ClassRule(), "values from -1 to 0"),
        (np.array([0, 70000]), ClassRule(), "0 to 70000"),
        (np.zeros(4), ClassRule(), "All masks are empty"),
        (np.array([0, 3]), ClassRule("list", {0: 0, 1: 1}), "the values 3 that are not in the"),
    ],
)
def test_masks_that_are_no_classes(mask, rule, message):
    with pytest.raises(InputError, match=message):
        classes_of(mask, rule=rule)


def test_lossy_masks_are_cut_at_half():
    mask = np.array([0, 3, 9, 120, 130, 250, 255] + [0] * 93, dtype=np.uint8)
    found = classes_of(mask, lossy=True)
    assert found.apply(mask, lossy=True)[:7].tolist() == [0, 0, 0, 0, 1, 1, 1]
    with pytest.raises(InputError, match="many values between black and white"):
        classes_of(np.full(9, 128, np.uint8), lossy=True)
    survey = ValueSurvey(ClassRule())
    survey.add(SourceFile("m", Path("x"), "mask"), mask, True)
    survey.add(SourceFile("n", Path("x"), "mask"), np.array([0, 1]), False)
    with pytest.raises(InputError, match="save all of them as PNG"):
        survey.classes()


def test_threshold():
    found = classes_of(np.arange(20), rule=ClassRule("threshold", threshold=9.5))
    assert found.apply(np.array([0, 9, 10])).tolist() == [0, 0, 1]
    assert found.count == 2


# --- pixels ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    method=st.sampled_from(["nearest", "majority"]),
)
def test_resizing_labels_never_makes_new_classes(data, shape, size, method):
    values = data.draw(st.lists(st.integers(0, 63), min_size=1, max_size=4))
    labels = np.array(
        data.draw(
            st.lists(
                st.sampled_from(values),
                min_size=shape[0] * shape[1],
                max_size=shape[0] * shape[1],
            )
        ),
        dtype=np.uint8,
    ).reshape(shape)
    result = resize_labels(labels, size, method)
    assert result.shape == size
    assert result.dtype == np.uint8
    assert set(np.unique(result)) <= set(np.unique(labels))


@pytest.mark.parametrize("method", ["nearest", "majority"])
def test_resized_labels_lie_where_the_resized_image_lies(method):
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 8:32] = 1
    small = resize_labels(labels, (16, 16), method)
    image = resize_image(labels[..., None].astype(np.float32), (16, 16))[..., 0]
    np.testing.assert_array_equal(small, image > 0.5)
    assert small.sum() == 36
    # Enlarged, the majority rounds the four corners off.
    assert (resize_labels(small, (64, 64), method) != labels).sum() in (0, 4)


def test_resizing_an_image_keeps_its_range_and_mean():
    image = np.random.default_rng(0).uniform(-1000, 400, (40, 50, 1))
    small = resize_image(image, (10, 10))
    assert small.dtype == np.float32
    assert image.min() <= small.min() and small.max() <= image.max()
    assert abs(small.mean() - image.mean()) < 20


def test_window_known_values():
    image = np.array([-1350.0, -600.0, 150.0, -3000.0, 3000.0])
    lung = Window(*WINDOWS["lung"])
    np.testing.assert_allclose(apply_window(image, lung), [0, 127.5, 255, 0, 255])
    with pytest.raises(InputError, match="width must be above 0"):
        Window(0, 0)
    with pytest.raises(InputError, match="cannot be used"):
        Window(float("nan"), 1)


def test_grey_weights():
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    assert to_grey(red, "average").item() == 85
    assert to_grey(red, "luminance").item() == 54  # 255 * 0.2125
    assert to_grey(red, "keep") is red
    same = np.full((2, 2, 3), 77, np.uint8)
    assert (to_grey(same, "average") == 77).all() and (to_grey(same, "luminance") == 77).all()
    floats = np.full((1, 1, 3), 0.25, np.float32)
    assert to_grey(floats, "average").dtype == np.float32


def test_masks_of_three_equal_channels_are_grey():
    file = SourceFile("m", Path("x"), "mask")
    grey = np.dstack([np.eye(3, dtype=np.uint8)] * 3)
    np.testing.assert_array_equal(mask_values(grey, file), np.eye(3))
    grey[0, 0, 1] = 9
    with pytest.raises(InputError, match="mask m is coloured"):
        mask_values(grey, file)


def test_one_hot():
    assert one_hot(np.array([[0, 2]], np.uint8), 3).tolist() == [[[1, 0, 0], [0, 0, 1]]]


# --- the whole job --------------------------------------------------------------------------------


def params(**changes: Any) -> dict[str, Any]:
    """Return the form as Galaxy writes it when it is run untouched, with changes."""
    base: dict[str, Any] = {
        "with_masks": {
            "choice": "yes",
            "matching": {"mode": "name"},
            "values": {"mode": "auto"},
            "form": "one_hot",
            "resize": "nearest",
        },
        "size": {"height": 0, "width": 0},
        "intensity": {"mode": "keep"},
        "colour": "average",
        "slices": {"axis": "axial", "choice": {"mode": "all"}},
        "groups": {"mode": "auto"},
    }
    return {**base, **changes}


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
    **changes: Any,
) -> Path:
    given_files = {
        "images": images,
        "masks": masks or [],
        "group_table": str(table) if table else None,
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
