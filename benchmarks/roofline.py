"""What a step has to compute, and how fast this machine multiplies matrices."""

from __future__ import annotations

import time

from gpulab.unet.network import Architecture

TAPS = 9  # of a 3 × 3 kernel
FORWARD_AND_BACKWARD = 3  # the gradients of inputs and of weights cost as much as the forward pass


def training_operations(architecture: Architecture, size: int) -> int:
    """Return the floating-point operations of the convolutions for one image in a training step.

    A multiplication and an addition are two. All else of a step (normalisation, activation,
    pooling, the loss, the optimiser) is left out: it moves numbers more than it computes.

    Args:
        architecture: Sizes of the network.
        size: Height and width of the image in pixels.
    """
    base, depth = architecture.base_filters, architecture.depth
    products = channels = 0
    for level in range(depth + 1):
        filters = base * 2**level
        channels = base * 2 ** (level - 1) if level else architecture.channels
        products += (size >> level) ** 2 * TAPS * filters * (channels + filters)
    for level in range(depth):
        filters = base * 2**level
        # The transposed convolution does its taps for each pixel of the smaller map.
        products += (size >> (level + 1)) ** 2 * TAPS * 2 * filters * filters
        products += (size >> level) ** 2 * TAPS * filters * (2 * filters + filters)
    products += size**2 * base * architecture.classes
    return 2 * FORWARD_AND_BACKWARD * products


def matrix_rate(kind: str, size: int = 4096, seconds: float = 2.0) -> float:
    """Return the floating-point operations per second of a product of large square matrices.

    Args:
        kind: "float32" or "bfloat16".
        size: Rows and columns.
        seconds: How long to try; the best product counts.
    """
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((size, size)), kind)
    tf.matmul(matrix, matrix).numpy()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best)
