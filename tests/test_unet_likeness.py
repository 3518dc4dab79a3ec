"""Images that look alike are counted together, whatever their brightness and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.testing import phantom_slices
from gpulab.testing.datasets import write_arrays
from gpulab.unet import likeness
from gpulab.unet.data import open_samples


def count(images: np.ndarray, folder: Path) -> np.ndarray:
    """Count through a file, as training does."""
    labels = np.zeros(images.shape[:3], np.uint8)
    labels[:, 0, 0] = 1
    write_arrays(folder / "part.h5", {"images": images, "masks": labels})
    with open_samples(
        folder / "part.h5", folder, images="images", masks="masks", label="training data"
    ) as samples:
        return likeness.count_alike(samples)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """Unrelated coarse pictures, (n, 40, 56, 1)."""
    coarse = np.random.default_rng(seed).uniform(0, 200, (n, 5, 7, 1))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.float32)


def test_neighbouring_slices_share_their_turns_and_others_do_not(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    volume, others = pictures(1).repeat(6, axis=0), pictures(3, seed=5)
    volume = volume * random.uniform(0.5, 1.5, (6, 1, 1, 1)) + random.normal(0, 5, volume.shape)
    counts = count(np.concatenate([volume, others]).astype(np.float32), tmp_path)
    np.testing.assert_array_equal(counts, [6] * 6 + [1] * 3)


def test_flat_images_are_alike_and_like_no_other(tmp_path: Path) -> None:
    images = pictures(5)
    images[1:3] = 0
    images[4] = 1e6
    np.testing.assert_array_equal(count(images, tmp_path), [1, 3, 3, 1, 3])


def test_many_samples_are_estimated_from_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "MOST_REFERENCES", 60)
    images = np.concatenate([pictures(1).repeat(100, axis=0), pictures(20, seed=3)])
    counts = count(images, tmp_path)
    assert counts[:100] == pytest.approx(100, rel=0.15)
    assert counts[100:].max() <= 2


@given(st.integers(3, 70), st.integers(3, 70), st.integers(1, 3), st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_thumbnails_are_unit_vectors_of_any_size_and_brightness(
    height: int, width: int, channels: int, factor: float
) -> None:
    images, _ = phantom_slices(2, 72, seed=height)
    colours = np.repeat(images[:, :height, :width].astype(np.float32), channels, axis=-1)
    small = likeness.thumbnails(colours)
    np.testing.assert_allclose(np.linalg.norm(small, axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(likeness.thumbnails(colours * factor + 7), small, atol=2e-3)
