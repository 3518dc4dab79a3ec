"""One temperature makes probabilities mean what they say, and changes no mask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.unet import calibrate as module
from gpulab.unet.calibrate import calibrate, fit_temperature
from gpulab.unet.data import Samples, open_samples
from gpulab.unet.network import Architecture, build_unet_with

DATA = Path(__file__).parents[1] / "test-data"


@settings(max_examples=20, deadline=None)
@given(true=st.floats(1.1, 4.0), classes=st.sampled_from([2, 3, 5]), seed=st.integers(0, 2**32 - 1))
def test_the_temperature_that_was_used_is_found(true: float, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    calm = random.normal(size=(60_000, classes)).astype(np.float32) * 2
    # The largest of scores with Gumbel noise is a draw from their softmax (Gumbel 1954).
    labels = (calm + random.gumbel(size=calm.shape)).argmax(axis=1).astype(np.uint8)
    assert fit_temperature(calm * np.float32(true), labels) == pytest.approx(true, rel=0.05)


def test_the_temperature_stays_in_its_bounds() -> None:
    labels = np.array([0, 1] * 50, np.uint8)
    right = np.eye(2, dtype=np.float32)[labels]
    assert fit_temperature(right, labels) == pytest.approx(module.LOWEST, rel=0.02)
    assert fit_temperature(right[:, ::-1] * 9, labels) == pytest.approx(module.HIGHEST, rel=0.02)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_give_the_probabilities_back(classes: int) -> None:
    random = np.random.default_rng(3)
    values = random.dirichlet(np.ones(classes), size=50).astype(np.float32)
    scores = module._scores(values)
    again = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(again[:, 1:], values[:, 1:], rtol=1e-4, atol=2e-6)


def test_certain_probabilities_are_finite_scores() -> None:
    certain = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    assert np.isfinite(module._scores(certain)).all()


@pytest.fixture
def validation(tmp_path: Path) -> Iterator[Samples]:
    with open_samples(
        DATA / "part_valid.h5", tmp_path, images="images", masks="masks", label="validation data"
    ) as samples:
        yield samples


def test_a_model_that_is_too_sure_is_calmed(validation: Samples) -> None:
    import keras

    keras.utils.set_random_seed(0)
    model = build_unet_with("float32", Architecture(base_filters=2, depth=2))
    layer = model.get_layer("scores")
    layer.set_weights([weights * 40 for weights in layer.get_weights()])
    images, _ = validation.read(np.arange(2))
    before = model.predict_on_batch(images).astype(np.float64)
    temperature = calibrate(model, validation, 3, 4)
    after = model.predict_on_batch(images).astype(np.float64)
    assert temperature > 1.1
    middle = (before > 1e-5) & (before < 1 - 1e-5)
    odds = np.log(before[middle]) - np.log1p(-before[middle])
    np.testing.assert_allclose(after[middle], 1 / (1 + np.exp(-odds / temperature)), atol=1e-3)
    np.testing.assert_array_equal(after > 0.5, before > 0.5)


def test_few_pixels_of_large_data_are_enough(
    validation: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_unet_with("float32", Architecture(base_filters=2, depth=2))
    images, _ = validation.read(np.arange(1))
    model.predict_on_batch(images)
    scores, labels, weights = module._sampled_scores(model, validation, 3, 4)
    assert weights is None
    assert len(scores) == len(labels) == len(validation) * images[0].size
    monkeypatch.setattr(module, "MOST_PIXELS", 1000)
    monkeypatch.setattr(module, "MOST_SAMPLES", 4)
    fewer, labels, _ = module._sampled_scores(model, validation, 3, 4)
    assert len(fewer) == len(labels) == 1000


def test_a_pixel_of_twice_the_weight_counts_like_two() -> None:
    random = np.random.default_rng(3)
    scores = random.normal(scale=4, size=(200, 3)).astype(np.float32)
    labels = random.integers(0, 3, 200).astype(np.uint8)
    counts = random.integers(0, 3, 200)
    repeated = fit_temperature(scores.repeat(counts, axis=0), labels.repeat(counts))
    assert fit_temperature(scores, labels, counts.astype(float)) == pytest.approx(repeated)


def test_samples_that_count_nothing_have_no_say(validation: Samples) -> None:
    model = build_unet_with("float32", Architecture(base_filters=2, depth=2))
    validation.weights = np.arange(len(validation)) % 2 * 2.0
    _, labels, weights = module._sampled_scores(model, validation, 3, 4)
    assert len(labels) == len(validation) // 2 * validation.height * validation.width
    assert weights is not None and set(weights) == {2.0}
