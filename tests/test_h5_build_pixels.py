"""Resizing, windowing and colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.h5.build_options import WINDOWS, Window
from gpulab.h5.build_pixels import (
    apply_window,
    mask_values,
    one_hot,
    resize_image,
    resize_labels,
    to_grey,
)
from gpulab.h5.images import SourceFile


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
