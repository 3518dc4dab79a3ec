"""The network has the original's size, and the losses do what their names say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpulab.unet.losses import LOSSES, make_loss
from gpulab.unet.network import Architecture, build_unet, build_unet_with

ROOT = Path(__file__).parents[1]


def test_the_original_size_has_the_original_number_of_parameters() -> None:
    model = build_unet(Architecture(base_filters=64, depth=4, scaling="none"))
    assert model.count_params() == 34_535_810


def test_scaling_adds_no_parameters_and_ignores_brightness_and_contrast() -> None:
    model = build_unet(Architecture(base_filters=2, depth=1, scaling="image"))
    none = build_unet(Architecture(base_filters=2, depth=1, scaling="none"))
    assert model.count_params() == none.count_params()
    image = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 1)).astype(np.float32)
    np.testing.assert_allclose(
        model.predict_on_batch(image), model.predict_on_batch(3 * image + 100), atol=1e-3
    )


def test_fixed_scaling_is_the_same_as_scaled_input() -> None:
    fixed = build_unet(
        Architecture(base_filters=2, depth=1, scaling="fixed", shift=80.0, scale=50.0)
    )
    plain = build_unet(Architecture(base_filters=2, depth=1, scaling="none"))
    plain.set_weights(fixed.get_weights())
    image = np.random.default_rng(0).uniform(0, 255, (2, 8, 12, 1)).astype(np.float32)
    np.testing.assert_allclose(
        fixed.predict_on_batch(image), plain.predict_on_batch((image - 80) / 50), atol=1e-5
    )


def test_a_number_format_is_that_of_the_model_alone() -> None:
    import keras

    before = keras.config.dtype_policy().name
    model = build_unet_with("mixed_bfloat16", Architecture(base_filters=2, depth=1))
    assert keras.config.dtype_policy().name == before
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_more_than_two_classes_sum_to_one() -> None:
    model = build_unet(Architecture(classes=3, base_filters=2, depth=1))
    output = model.predict_on_batch(np.zeros((1, 8, 8, 1), np.float32))
    np.testing.assert_allclose(output.sum(axis=-1), 1.0, atol=1e-5)


def _masks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = np.zeros((2, 16, 16, 2), np.float32)
    truth[:, 4:12, 4:12, 1] = 1
    truth[..., 0] = 1 - truth[..., 1]
    good, bad = np.clip(truth, 0.05, 0.95), np.clip(1 - truth, 0.05, 0.95)
    return truth, good, bad


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_the_better_mask(name: str) -> None:
    truth, good, bad = _masks()
    loss = make_loss(name, tv_weight=0.1)
    assert float(loss(truth, good)) < float(loss(truth, bad))


def test_total_variation_is_taken_over_rows_and_columns_of_the_foreground() -> None:
    from gpulab.unet.losses import total_variation

    steps = np.zeros((1, 4, 5, 2), np.float32)
    steps[:, 2:, :, 1] = 1.0  # one step between rows 1 and 2, in each column
    assert float(total_variation(steps)) == pytest.approx(5 / (3 * 5))
    steps = np.zeros((1, 4, 5, 2), np.float32)
    steps[:, :, 3:, 1] = 1.0
    assert float(total_variation(steps)) == pytest.approx(4 / (4 * 4))
    background = np.zeros((1, 4, 5, 2), np.float32)
    background[:, ::2, :, 0] = 1.0
    assert float(total_variation(background)) == 0.0


def test_perfect_dice_is_zero_and_ignores_the_background() -> None:
    truth, _, _ = _masks()
    loss = make_loss("dice")
    assert float(loss(truth, truth)) == pytest.approx(0.0, abs=1e-6)
    other = truth.copy()
    other[..., 0] = 0.5
    assert float(loss(truth, other)) == pytest.approx(0.0, abs=1e-6)


def test_foreground_weight_is_that_of_repeated_pixels() -> None:
    truth, good, _ = _masks()
    good[:, 4:12, 4:12, 1] = 0.6
    plain = make_loss("bce")
    weighted = float(make_loss("bce", foreground_weight=3.0)(truth, good))
    # 64 of 256 pixels are foreground; three times each is the same as a weighted mean by hand.
    foreground = float(plain(truth[:, 4:12, 4:12], good[:, 4:12, 4:12]))
    background = (float(plain(truth, good)) * 256 - foreground * 64) / 192
    assert weighted == pytest.approx((3 * 64 * foreground + 192 * background) / (3 * 64 + 192))


TWO_STEPS = """
import json, os, sys
import numpy as np
import keras
from gpulab.testing import one_hot, phantom_slices
from gpulab.unet.losses import make_loss
from gpulab.unet.network import Architecture, build_unet, build_unet_with

architecture = Architecture(base_filters=4, depth=2, dropout=0.0)
model = build_unet(architecture)
random = np.random.default_rng(3)
model.set_weights([
    (random.normal(0, 0.1, w.shape) if w.ndim > 1 else w).astype("float32")
    for w in model.get_weights()
])
model.compile(keras.optimizers.Adam(1e-3), make_loss("bce_tv", tv_weight=0.1), jit_compile=False)
images, labels = phantom_slices(4, 32, seed=5)
images, masks = images.astype("float32"), one_hot(labels).astype("float32")
print(json.dumps([float(model.train_on_batch(images, masks)) for _ in range(2)]))
"""


def test_two_training_steps_agree_on_every_installed_backend() -> None:
    losses = {}
    for backend in ("tensorflow", "jax", "torch"):
        if subprocess.run(
            [sys.executable, "-c", f"import {backend}"], capture_output=True, check=False
        ).returncode:
            print(f"{backend} is not installed: not compared")
            continue
        done = subprocess.run(
            [sys.executable, "-c", TWO_STEPS],
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        losses[backend] = json.loads(done.stdout.splitlines()[-1])
    assert len(losses) >= 2, "the test environment holds TensorFlow and JAX"
    reference = losses.pop("tensorflow")
    assert reference[1] < reference[0]
    for backend, values in losses.items():
        np.testing.assert_allclose(values, reference, rtol=1e-4, err_msg=backend)
