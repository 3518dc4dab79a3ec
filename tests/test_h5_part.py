from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.labels import MaskForm, class_numbers
from gpulab.h5.part import open_part
from gpulab.h5.write import PartWriter, chunk_shape
from gpulab.testing import bad_h5, one_hot, phantom_slices


def make(path: Path, **arrays: NDArray[Any]) -> Path:
    bad_h5.write(path, bad_h5.good_arrays() | arrays)
    return path


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    return phantom_slices(bad_h5.N, bad_h5.SIZE, seed=3)[1]


def test_a_part_says_what_it_holds(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    names = np.array([f"s{index}".encode() for index in range(8)])
    path = make(tmp_path / "part.h5", sample_ids=names, groups=np.arange(8) // 4)
    with open_part(path) as part:
        assert (part.n, part.height, part.width, part.channels) == (8, 16, 16, 1)
        assert (part.classes, part.one_hot, part.has_masks) == (2, True, True)
        assert part.sample_ids == [f"s{index}" for index in range(8)]
        assert part.groups == ["0"] * 4 + ["1"] * 4
        assert np.array_equal(part.read_labels(0, 8), labels)
        assert np.allclose(part.foreground_fraction(), labels.mean(axis=(1, 2)))
        images = part.read_images(2, 5)
        assert images.dtype == np.float32 and images.shape == (3, 16, 16, 1)


def test_without_masks_and_names(tmp_path: Path) -> None:
    path = make(tmp_path / "part.h5")
    with open_part(path, masks=None) as part:
        assert part.classes is None and part.groups is None and not part.has_masks
        assert part.sample_ids[0] == "sample_00001" and len(part.sample_ids) == 8
        with pytest.raises(ValueError, match="no masks"):
            part.read_labels(0, 1)


@pytest.mark.parametrize("form", ["one_hot", "numbers", "numbers_1", "0_255", "0_255_1"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, np.uint16])
def test_every_form_of_masks_gives_the_same_labels(
    tmp_path: Path, labels: NDArray[np.uint8], form: str, dtype: type
) -> None:
    masks = {
        "one_hot": one_hot(labels),
        "numbers": labels,
        "numbers_1": labels[..., None],
        "0_255": labels * np.uint8(255),
        "0_255_1": labels[..., None] * np.uint8(255),
    }[form]
    path = make(tmp_path / "part.h5", masks=masks.astype(dtype))
    with open_part(path) as part:
        assert part.classes == 2
        assert np.array_equal(part.read_labels(1, 6), labels[1:6])
        assert part.read_labels(0, 8).dtype == np.uint8


def test_boolean_masks(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    with open_part(make(tmp_path / "part.h5", masks=labels.astype(bool))) as part:
        assert np.array_equal(part.read_labels(0, 8), labels)


def test_more_classes(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 5, (8, 16, 16)).astype(np.uint8)
    for masks in (labels, one_hot(labels, 5)):
        with open_part(make(tmp_path / "part.h5", masks=masks)) as part:
            assert part.classes == 5
            assert np.array_equal(part.read_labels(0, 8), labels)


def test_masks_without_foreground_have_two_classes(tmp_path: Path) -> None:
    with open_part(make(tmp_path / "part.h5", masks=np.zeros((8, 16, 16), np.uint8))) as part:
        assert part.classes == 2
        assert part.foreground_fraction().max() == 0


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.full((8, 16, 16), 64), "holds the values 64, which are no classes"),
        (np.full((8, 16, 16), -1), "holds the value -1, which is no class"),
        (np.full((8, 16, 16), 300), "holds the value 300, which is no class"),
        (np.full((8, 16, 16), 0.5), "holds the value 0.5, which is no class"),
        (np.full((8, 16, 16), np.nan), "masks of the training data holds NaN"),
        (np.zeros((8, 16, 16, 2), np.uint8), "is not one-hot: sample 0"),
        (np.full((8, 16, 16, 2), 255, np.uint8), "is not one-hot: sample 0"),
        (np.zeros((8, 16, 16, 65), np.uint8), "has 65 channels, more than the 64 classes"),
        (np.zeros((8, 256), np.uint8), "has the shape 8 x 256, masks need the axes"),
    ],
)
def test_masks_that_are_no_masks(tmp_path: Path, masks: NDArray[Any], message: str) -> None:
    path = make(tmp_path / "part.h5", masks=masks)
    with pytest.raises(InputError) as caught, open_part(path) as part:
        part.read_labels(0, 8)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((8, 16, 16))}, "has the shape 8 x 16 x 16, images need four axes"),
        ({"images": np.zeros((8, 1, 16, 128))}, "has 128 channels in its last axis"),
        ({"sample_ids": np.arange(7)}, "has the shape 7, it needs one name for each of the 8"),
        ({"groups": np.zeros((8, 1), int)}, "has the shape 8 x 1, it needs one name"),
        ({"groups": np.zeros(8)}, "must hold strings or whole numbers"),
        ({"images": np.full((8, 16, 16, 1), 1e300)}, "too large for 32 bits"),
    ],
)
def test_other_shapes_and_values(
    tmp_path: Path, change: dict[str, NDArray[Any]], message: str
) -> None:
    path = make(tmp_path / "part.h5", **change)
    with pytest.raises(InputError) as caught, open_part(path) as part:
        part.read_images(0, 8)
    assert message in str(caught.value)


@settings(deadline=None)
@given(
    labels=arrays_of.arrays(
        np.uint8, st.tuples(*[st.integers(1, 4)] * 3), elements=st.integers(0, 4)
    ),
    dtype=st.sampled_from(["u1", "i4", "f4", "f8"]),
)
def test_one_hot_is_undone(labels: NDArray[np.uint8], dtype: str) -> None:
    masks = one_hot(labels, 5).astype(dtype)
    assert np.array_equal(class_numbers(masks, MaskForm(5, one_hot=True), "x"), labels)


@settings(deadline=None)
@given(
    masks=arrays_of.arrays(
        np.uint8, st.tuples(*[st.integers(1, 3)] * 3, st.just(3)), elements=st.integers(0, 255)
    )
)
def test_one_hot_is_exactly_one_one(masks: NDArray[np.uint8]) -> None:
    valid = ((masks == 1).sum(axis=-1) == 1) & ((masks == 0).sum(axis=-1) == 2)
    try:
        class_numbers(masks, MaskForm(3, one_hot=True), "x")
        assert valid.all()
    except InputError:
        assert not valid.all()


@pytest.mark.parametrize("chunks", [None, (3, 16, 16, 1), (8, 4, 4, 1), (1, 16, 16, 1)])
def test_batches_cover_every_sample_once(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    arrays = bad_h5.good_arrays()
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.create_dataset("images", data=arrays["images"], chunks=chunks)
        file["masks"] = arrays["masks"]
    with open_part(tmp_path / "part.h5") as part:
        for budget in (1, 3000, 7000, 1 << 24):
            seen = [row for start, stop in part.batches(budget) for row in range(start, stop)]
            assert seen == list(range(8))
        read = np.concatenate([part.read_images(start, start + 3) for start in (0, 3, 6)])
        assert np.array_equal(read, arrays["images"])


@pytest.mark.parametrize("samples", [8, None])
def test_what_is_written_is_read(tmp_path: Path, samples: int | None) -> None:
    arrays = bad_h5.good_arrays()
    path = tmp_path / "written.h5"
    with PartWriter(
        path,
        image_shape=(16, 16, 1),
        image_dtype="u1",
        mask_shape=(16, 16, 2),
        samples=samples,
        attributes={"made_by": "a test", "seed": 3},
    ) as writer:
        for start, stop in ((0, 3), (3, 4), (4, 8)):
            names = [f"é{index}" for index in range(start, stop)]
            writer.append(arrays["images"][start:stop], arrays["masks"][start:stop], names, names)
    with open_part(path) as part:
        assert part.n == 8 and part.groups == part.sample_ids == [f"é{i}" for i in range(8)]
        assert part.images.dtype == np.uint8 and part.images.compression == "gzip"
        assert np.array_equal(part.read_images(0, 8), arrays["images"])
        assert part.masks is not None and np.array_equal(part.masks[:], arrays["masks"])
    with h5py.File(path) as file:
        assert file.attrs["made_by"] == "a test" and file.attrs["seed"] == 3


def test_classes_are_noted_beside_class_numbers(tmp_path: Path) -> None:
    path = tmp_path / "written.h5"
    with PartWriter(
        path, image_shape=(4, 4, 1), image_dtype="u1", mask_shape=(4, 4), classes=7
    ) as writer:
        writer.append(np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 4)))
    with open_part(path) as part:
        assert part.classes == 7
    for odd in (10**9, "seven", [1, 2], -4, 2.5):
        with h5py.File(path, "a") as file:
            file["masks"].attrs["classes"] = odd
        with open_part(path) as part:
            assert part.classes == 2


def test_the_writer_refuses_to_be_misused(tmp_path: Path) -> None:
    def writer(samples: int | None = 2) -> PartWriter:
        return PartWriter(
            tmp_path / "w.h5", image_shape=(4, 4, 1), image_dtype="u1", samples=samples
        )

    images = np.zeros((2, 4, 4, 1))
    with pytest.raises(ValueError, match="1 of 2 samples"), writer() as part:
        part.append(images[:1])
    with pytest.raises(ValueError, match="More than the 2 samples"), writer() as part:
        part.append(np.zeros((3, 4, 4, 1)))
    with pytest.raises(ValueError, match="need as many masks"), writer() as part:
        part.append(images, images)
    with pytest.raises(ValueError, match="as many names"), writer() as part:
        part.append(images, None, ["one"])
    with pytest.raises(ValueError, match="2 sample_ids for 4 samples"), writer(None) as part:
        part.append(images, None, ["a", "b"])
        part.append(images)


def test_chunks_hold_about_a_mebibyte() -> None:
    assert chunk_shape((128, 128, 1), 1) == (64, 128, 128, 1)
    assert chunk_shape((128, 128, 1), 1, rows=10) == (10, 128, 128, 1)
    assert chunk_shape((1024, 1024, 3), 4) == (1, 1024, 1024, 3)
    count, height, width, channels = chunk_shape((20_000, 20_000, 3), 4)
    assert count == 1 and height * width * channels * 4 <= 32 << 20
    assert chunk_shape((16, 16), 1) == (4096, 16, 16)
