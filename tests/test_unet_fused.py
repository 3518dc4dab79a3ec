"""Batch normalisation and Adam of single kernels do what those of Keras do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpulab.unet import fused

keras = pytest.importorskip("keras")


def moved(schedule: Any) -> list[np.ndarray]:
    """Return variables after three steps of Adam along given gradients, and their averages."""
    random = np.random.default_rng(3)
    shapes, types = ((3, 3, 1, 4), (4,), (2,)), ("float32", "float32", "float64")
    variables = [
        keras.Variable(random.normal(size=shape), dtype=dtype)
        for shape, dtype in zip(shapes, types, strict=True)
    ]
    optimizer = fused.adam(schedule(), clipnorm=1.0, use_ema=True)
    optimizer.build(variables)
    for _ in range(3):
        gradients = [random.normal(size=v.shape).astype(v.dtype) for v in variables]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    # The optimiser's own variables too: a run that goes on has to find what Keras would.
    return [keras.ops.convert_to_numpy(v) for v in (*variables, *optimizer.variables)]


def constant() -> float:
    return 0.01


def cosine() -> Any:
    return keras.optimizers.schedules.CosineDecay(0.001, 10, warmup_target=0.01, warmup_steps=2)


@pytest.mark.parametrize("schedule", [constant, cosine])
def test_adam_moves_as_that_of_keras(schedule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused._has_kernels():
        pytest.skip("this backend has no such kernels")
    found = moved(schedule)
    monkeypatch.setattr(fused, "_has_kernels", lambda: False)
    for one, expected in zip(found, moved(schedule), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-3), ("mixed_bfloat16", 2e-2)])
def test_a_network_learns_as_with_the_layers_of_keras(
    policy: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpulab.testing import one_hot, phantom_slices
    from gpulab.unet.losses import make_loss
    from gpulab.unet.network import Architecture, build_unet_with

    images, labels = phantom_slices(4, 32, seed=1)
    truth = one_hot(labels).astype(np.float32)
    architecture = Architecture(base_filters=2, depth=1, dropout=0.0, scaling="fixed", scale=100.0)
    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        model = build_unet_with(policy, architecture)
        model.compile(fused.adam(0.01, clipnorm=1.0), make_loss("bce"), jit_compile=False)
        losses.append([float(model.train_on_batch(images, truth)) for _ in range(4)])
        monkeypatch.setattr(fused, "_has_kernels", lambda: False)
    np.testing.assert_allclose(losses[0], losses[1], rtol=tolerance)
    assert losses[0][-1] < losses[0][0]
