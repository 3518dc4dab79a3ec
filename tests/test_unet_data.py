"""Augmentation and batches keep what they must keep."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.testing import phantom_slices
from gpulab.unet.augment import Augmentation, augment_batch, augmentation_for
from gpulab.unet.data import open_samples, pad_batch, training_batches
from gpulab.unet.order import EpochOrder

DATA = Path(__file__).parents[1] / "test-data"


@given(
    seed=st.integers(0, 2**32 - 1),
    strength=st.sampled_from(["light", "medium", "strong"]),
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    turns=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_augmentation_keeps_shapes_types_and_classes(
    seed: int, strength: str, height: int, width: int, turns: bool
) -> None:
    random = np.random.default_rng(seed)
    images = random.uniform(-1000, 3000, (2, height, width, 2)).astype(np.float32)
    labels = random.integers(0, 3, (2, height, width)).astype(np.uint8)
    augmentation = augmentation_for(strength, turns=turns)
    assert augmentation is not None
    changed, changed_labels = augment_batch(images, labels, augmentation, random)
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert set(np.unique(changed_labels)) <= set(np.unique(labels))


def test_image_and_mask_move_together() -> None:
    _, labels = phantom_slices(3, 48, seed=2, healthy_fraction=0.0)
    images = labels[..., None].astype(np.float32) * 100
    plain = Augmentation(brightness=0, contrast=0, gamma=0, noise=0, rotation=30, zoom=0.2)
    changed, changed_labels = augment_batch(images, labels, plain, np.random.default_rng(0))
    assert not np.array_equal(changed_labels, labels)
    from_image = changed[..., 0] > 50
    overlap = 2 * (from_image & (changed_labels > 0)).sum()
    assert overlap / (from_image.sum() + (changed_labels > 0).sum()) > 0.95


def turned(label: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of a small picture and its mask, changed by turns alone."""
    only_turns = augmentation_for("none", turns=True)
    assert only_turns is not None
    labels = np.repeat(label[None], times, axis=0)
    images = labels[..., None].astype(np.float32)
    return augment_batch(images, labels, only_turns, np.random.default_rng(0))


def test_turns_alone_lay_a_square_down_in_all_eight_ways_and_change_nothing_else() -> None:
    label = np.arange(16, dtype=np.uint8).reshape(4, 4)
    images, labels = turned(label, 200)
    np.testing.assert_allclose(images[..., 0], labels, atol=1e-4)
    ways = {np.rot90(one, k).tobytes() for one in (label, label.T) for k in range(4)}
    assert {one.tobytes() for one in labels} == ways


def test_turns_keep_the_sides_of_other_shapes() -> None:
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    _, labels = turned(label, 60)
    ways = {label[::row, ::column].tobytes() for row in (1, -1) for column in (1, -1)}
    assert {one.tobytes() for one in labels} == ways


def test_a_flat_image_stays_finite() -> None:
    images = np.full((1, 8, 8, 1), 7.0, np.float32)
    labels = np.zeros((1, 8, 8), np.uint8)
    changed, _ = augment_batch(images, labels, Augmentation(), np.random.default_rng(0))
    np.testing.assert_allclose(changed, 7.0, rtol=1e-6)


@given(samples=st.integers(1, 60), batch=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_an_epoch_sees_every_sample(samples: int, batch: int, seed: int) -> None:
    order = EpochOrder(samples, min(batch, samples), seed)
    seen = np.concatenate([order.batch(index) for index in range(len(order))])
    assert set(seen) == set(range(samples))
    assert len(seen) - samples < min(batch, samples)
    again = EpochOrder(samples, min(batch, samples), seed)
    np.testing.assert_array_equal(again.batch(0), order.batch(0))


@given(height=st.integers(1, 40), width=st.integers(1, 40), multiple=st.sampled_from([2, 8, 16]))
@settings(deadline=None)
def test_padding_reaches_the_next_multiple(height: int, width: int, multiple: int) -> None:
    array = np.arange(height * width, dtype=np.float32).reshape(1, height, width, 1)
    padded = pad_batch(array, multiple)
    for size, length in zip(padded.shape[1:3], (height, width), strict=True):
        assert size % multiple == 0
        assert 0 <= size - length < multiple
    assert set(np.unique(padded)) == set(np.unique(array))


def test_samples_are_those_of_the_file_and_the_scratch_file_goes_away(tmp_path: Path) -> None:
    path = DATA / "part_train.h5"
    names = {"images": "images", "masks": "masks", "label": "training data"}
    with open_samples(path, tmp_path, **names) as samples, h5py.File(path, locking=False) as file:
        images, labels = samples.read(np.array([5, 2]))
        np.testing.assert_array_equal(images, file["images"][:][[5, 2]])
        np.testing.assert_array_equal(labels, file["masks"][:][[5, 2]].argmax(axis=-1))
        assert samples.statistics.mean == pytest.approx(file["images"][:].mean(), rel=1e-6)
        assert samples.statistics.deviation == pytest.approx(file["images"][:].std(), rel=1e-6)
        assert samples.statistics.foreground == pytest.approx(file["masks"][..., 1].mean())
    assert list(tmp_path.iterdir()) == []


def test_batches_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    names = {"images": "images", "masks": "masks", "label": "training data"}
    with open_samples(DATA / "part_train.h5", tmp_path, **names) as samples:
        both = []
        for workers in (1, 3):
            order = EpochOrder(len(samples), 5, seed=4)
            batches = training_batches(samples, order, Augmentation(), 16, workers)
            both.append([batches[index] for index in range(len(batches))])
    for (images, masks), (other_images, other_masks) in zip(*both, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(masks, other_masks)


def test_images_without_masks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((2, 8, 8, 1), np.uint8)
    with (
        pytest.raises(InputError, match=r"training data.*masks"),
        open_samples(path, tmp_path, images="images", masks="masks", label="training data"),
    ):
        pass


def test_data_that_would_fill_the_disk_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    names = {"images": "images", "masks": "masks", "label": "training data"}
    with (
        pytest.raises(InputError, match="decoded training data may take"),
        open_samples(DATA / "part_train.h5", tmp_path, **names),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
