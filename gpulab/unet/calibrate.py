"""Probabilities that mean what they say: one temperature for all scores of a trained network."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.unet import parallel
from gpulab.unet.data import Samples, predict_samples
from gpulab.unet.network import SCORES_LAYER

MOST_SAMPLES = 256
MOST_PIXELS = 2**21
# Below 1, probabilities would become more extreme: an early network's best threshold of 0.1 would
# move to 0.01, below all that are tried.
LOWEST, HIGHEST = 1.0, 10.0
SMALLEST_PROBABILITY = 1e-6  # float32 cannot tell 1 - 1e-8 from 1


def calibrate(model: Any, validation: Samples, batch_size: int, multiple: int) -> float:
    """Divide a model's scores by the temperature that fits validation data best.

    Networks learn to be too sure of themselves. Guo et al. 2017 (arXiv:1706.04599, section 4.2)
    mend it by one number, by which all scores before the sigmoid or softmax are divided. It changes
    no order of pixels, so masks at the matching threshold stay the same, and since the last
    convolution takes it in, prediction costs nothing more.

    Args:
        model: Trained network of `build_unet`, changed in place.
        validation: Samples that it was not trained on.
        batch_size: Images at a time; that of validation saves compiling another one.
        multiple: Height and width are padded to multiples of this.

    Returns:
        The temperature, from 1, which changes nothing, to 10.
    """
    scores, labels, weights = _sampled_scores(model, validation, batch_size, multiple)
    temperature = fit_temperature(scores, labels, weights)
    layer = model.get_layer(SCORES_LAYER)
    layer.set_weights([weights / np.float32(temperature) for weights in layer.get_weights()])
    return temperature


def fit_temperature(
    scores: NDArray[np.float32],
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the temperature with the smallest mean negative log-likelihood.

    Args:
        scores: Float32 (pixels, classes), what a softmax makes probabilities of.
        labels: True class numbers, uint8 (pixels,).
        weights: How much each pixel counts, float64 (pixels,); None for all the same.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    true = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)[:, 0]

    def loss(logarithm: float) -> float:
        factor = np.float32(np.exp(-logarithm))
        each = (logsumexp(scores * factor, axis=1) - true * factor).astype(np.float64)
        return float(np.average(each, weights=weights))

    bounds = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.005})
    return float(np.exp(found.x))


def _sampled_scores(
    model: Any, samples: Samples, batch_size: int, multiple: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64] | None]:
    """Return scores, labels and weights of pixels, evenly of the samples, at random of each."""
    random = np.random.default_rng(0)
    chosen = samples.evenly(MOST_SAMPLES)
    quota = min(MOST_PIXELS // len(chosen), samples.height * samples.width)
    scores, kept = [], []
    answer = partial(parallel.predict, model)
    for _, output, labels in predict_samples(answer, samples, chosen, batch_size, multiple):
        for probabilities, label in zip(output, labels, strict=True):
            pixels = random.choice(label.size, quota, replace=False)
            scores.append(_scores(probabilities.reshape(label.size, -1)[pixels]))
            kept.append(label.reshape(-1)[pixels])
    weights = samples.weights_of(chosen)
    if weights is not None:
        weights = np.repeat(weights, quota)
    return np.concatenate(scores), np.concatenate(kept), weights


def _scores(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores whose softmax gives the probabilities (pixels, classes).

    With two classes each channel has a sigmoid of its own; the foreground's counts.
    """
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if probabilities.shape[1] == 2:
        foreground = clipped[:, 1:]
        odds = np.log(foreground) - np.log1p(-foreground)
        return np.concatenate([np.zeros_like(odds), odds], axis=1)
    return np.log(clipped)
