"""Losses for masks; all take one-hot truth and probabilities, float (b, h, w, classes)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpulab.unet.parallel import sum_over_devices

Loss = Callable[[Any, Any], Any]

LOSSES = ("bce", "bce_tv", "dice", "bce_dice", "focal")

# One pixel of each: keeps the Dice loss defined, and its gradient finite, on healthy slices.
DICE_SMOOTHING = 1.0
FOCAL_GAMMA = 2.0  # Lin et al. 2017, doi:10.1109/ICCV.2017.324, section 5.1


def total_variation(probabilities: Any) -> Any:
    """Return the anisotropic total variation of the foreground channels, a mean for each pixel.

    Rudin, Osher and Fatemi 1992, doi:10.1016/0167-2789(92)90242-F, in the anisotropic form of
    TV-UNet (Saeedizadeh et al. 2021, doi:10.1016/j.cmpbup.2021.100007): the mean absolute
    difference between neighbouring rows plus that between neighbouring columns. The original
    system's notebook indexed the wrong axis (`[: : ,: ,1]`) and thus took differences down one
    image column and across the classes.

    Args:
        probabilities: Float (b, h, w, classes), channel 0 is the background.

    Returns:
        A scalar between 0 and 2.
    """
    from keras import ops

    foreground = probabilities[:, :, :, 1:]
    rows = ops.mean(ops.abs(foreground[:, 1:, :, :] - foreground[:, :-1, :, :]))
    columns = ops.mean(ops.abs(foreground[:, :, 1:, :] - foreground[:, :, :-1, :]))
    return rows + columns


def dice_loss(truth: Any, probabilities: Any) -> Any:
    """Return 1 - soft Dice of the foreground, pooled over the batch, averaged over classes.

    Milletari, Navab and Ahmadi 2016, doi:10.1109/3DV.2016.79, with sums instead of squares in the
    denominator; the background does not count.

    Args:
        truth: One-hot, float (b, h, w, classes).
        probabilities: Float (b, h, w, classes).

    Returns:
        A scalar between 0 and 1.
    """
    from keras import ops

    truth, predicted = truth[:, :, :, 1:], probabilities[:, :, :, 1:]
    overlap = sum_over_devices(ops.sum(truth * predicted, axis=(0, 1, 2)))
    total = sum_over_devices(ops.sum(truth, axis=(0, 1, 2)) + ops.sum(predicted, axis=(0, 1, 2)))
    return 1.0 - ops.mean((2.0 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING))


def make_loss(name: str, *, tv_weight: float = 0.0, foreground_weight: float = 1.0) -> Loss:
    """Return a loss function for `Model.compile`.

    Args:
        name: "bce" (binary cross-entropy over all channels, as in the original), "bce_tv" (plus
            `tv_weight` × total variation), "dice", "bce_dice" (their sum) or "focal" (Lin et al.
            2017, gamma 2).
        tv_weight: Weight of the total variation in "bce_tv".
        foreground_weight: How many times a foreground pixel counts in the cross-entropy terms.

    Returns:
        A function from truth and probabilities to a scalar.

    Raises:
        ValueError: `name` is none of `LOSSES`.
    """
    if name not in LOSSES:
        raise ValueError(f"Unknown loss {name!r}")

    def cross_entropy(truth: Any, probabilities: Any) -> Any:
        import keras
        from keras import ops

        if name == "focal":
            pixels = keras.losses.binary_focal_crossentropy(truth, probabilities, gamma=FOCAL_GAMMA)
        else:
            pixels = keras.losses.binary_crossentropy(truth, probabilities)
        if foreground_weight == 1.0:
            return ops.mean(pixels)
        weights = 1.0 + (foreground_weight - 1.0) * (1.0 - truth[:, :, :, 0])
        return sum_over_devices(ops.sum(weights * pixels)) / sum_over_devices(ops.sum(weights))

    def loss(truth: Any, probabilities: Any) -> Any:
        if name == "dice":
            return dice_loss(truth, probabilities)
        value = cross_entropy(truth, probabilities)
        if name == "bce_dice":
            return value + dice_loss(truth, probabilities)
        if name == "bce_tv":
            return value + tv_weight * total_variation(probabilities)
        return value

    return loss
