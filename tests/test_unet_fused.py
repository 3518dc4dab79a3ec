from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpulab.testing import one_hot, phantom_slices
from gpulab.unet import fused
from gpulab.unet.losses import make_loss
from gpulab.unet.network import Architecture, build_unet

keras = pytest.importorskip("keras")


def trained(schedule: Any) -> tuple[list[float], list[np.ndarray]]:
    """Return the losses of three steps and the weights after them."""
    keras.utils.set_random_seed(3)
    model = build_unet(Architecture(base_filters=2, depth=1, dropout=0.0))
    optimizer = fused.adam(schedule(), clipnorm=1.0, use_ema=True)
    model.compile(optimizer, make_loss("bce"), jit_compile=False)
    images, labels = phantom_slices(4, 32, seed=1)
    losses = [
        float(model.train_on_batch(images.astype(np.float32), one_hot(labels))) for _ in range(3)
    ]
    return losses, model.get_weights()


def constant() -> float:
    return 0.01


def cosine() -> Any:
    return keras.optimizers.schedules.CosineDecay(0.001, 10, warmup_target=0.01, warmup_steps=2)


@pytest.mark.parametrize("schedule", [constant, cosine])
def test_the_kernels_compute_what_keras_does(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused._has_kernels():
        pytest.skip("this backend has no such kernels")
    losses, weights = trained(schedule)
    monkeypatch.setattr(fused, "_has_kernels", lambda: False)
    expected_losses, expected_weights = trained(schedule)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    assert len(weights) == len(expected_weights)
    for found, expected in zip(weights, expected_weights, strict=True):
        # Adam's first steps are as long for a tiny gradient, all rounding, as for a large one: a
        # convolution's bias before batch normalisation has no other.
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.median(np.abs(found - expected)) < 1e-4 * scale


def test_moving_averages_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5)).astype(np.float32)
    layers = [fused.batch_normalization(0.9)]
    monkeypatch.setattr(fused, "_has_kernels", lambda: False)
    layers.append(fused.batch_normalization(0.9))
    trained_, plain = ([layer(images, training=True), layer(images)] for layer in layers)
    for found, expected in zip(trained_, plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for found, expected in zip(layers[0].weights, layers[1].weights, strict=True):
        assert found.name == expected.name
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
