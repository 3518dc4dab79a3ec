"""The U-Net."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gpulab.unet.fused import batch_normalization

if TYPE_CHECKING:
    import keras

INPUT_NAME = "img"  # as in the original's ONNX model
OUTPUT_NAME = "probabilities"
SCORES_LAYER = "scores"  # the last convolution, before the sigmoid or softmax

# Keras' default of 0.99 needs hundreds of steps to settle: after one epoch of 41 steps the
# original's validation loss was 7.6. With 0.9 the moving averages follow within an epoch.
BATCH_NORM_MOMENTUM = 0.9

# A slice of one grey value has no variance; one grey level squared keeps the division defined.
VARIANCE_FLOOR = 1.0


@dataclass(frozen=True)
class Architecture:
    """What decides the shape of the network and of its weights.

    Attributes:
        channels: Image channels.
        classes: Output channels, background included; at least 2.
        base_filters: Filters of the first level; each level below has twice as many.
        depth: Number of down-sampling steps.
        dropout: Share of feature maps dropped after each pooling and concatenation.
        batch_norm: Whether each convolution is followed by batch normalisation.
        scaling: "image" (each image to zero mean and unit variance), "fixed" (the same `shift` and
            `scale` for every image) or "none" (raw values).
        shift: Value subtracted by "fixed" scaling.
        scale: Value by which "fixed" scaling divides.
    """

    channels: int = 1
    classes: int = 2
    base_filters: int = 64
    depth: int = 4
    dropout: float = 0.2
    batch_norm: bool = True
    scaling: str = "image"
    shift: float = 0.0
    scale: float = 1.0

    @property
    def spatial_multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        return int(2**self.depth)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON."""
        return asdict(self)


def build_unet(architecture: Architecture) -> keras.Model:
    """Build the U-Net for images of any height and width that are multiples of 2^depth.

    The layers are those of the original system's notebook (after Ronneberger, Fischer and Brox,
    MICCAI 2015, doi:10.1007/978-3-319-24574-4_28, with "same" padding, batch normalisation and
    dropout): with 64 base filters, depth 4, one image channel and two classes the model has
    34,535,810 parameters. Scaling has no parameters.

    Args:
        architecture: Sizes of the network.

    Returns:
        A Keras model from raw images, float32 (b, h, w, channels), to probabilities, float32
        (b, h, w, classes): a sigmoid for each channel with two classes, as in the original, and a
        softmax with more.
    """
    import keras
    from keras import layers

    image = keras.Input((None, None, architecture.channels), name=INPUT_NAME, dtype="float32")
    x = _scaled(image, architecture)
    skips = []
    for level in range(architecture.depth):
        x = _convolutions(x, architecture.base_filters * 2**level, architecture)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(architecture.dropout)(x)
    x = _convolutions(x, architecture.base_filters * 2**architecture.depth, architecture)
    for level in reversed(range(architecture.depth)):
        filters = architecture.base_filters * 2**level
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = layers.Dropout(architecture.dropout)(x)
        x = _convolutions(x, filters, architecture)
    x = layers.Conv2D(architecture.classes, 1, name=SCORES_LAYER)(x)
    activation = "sigmoid" if architecture.classes == 2 else "softmax"
    # Half precision cannot tell probabilities near 1 apart, so the last step is in float32.
    output = layers.Activation(activation, dtype="float32", name=OUTPUT_NAME)(x)
    return keras.Model(image, output, name="unet")


def build_unet_with(policy: str, architecture: Architecture) -> keras.Model:
    """Build the U-Net in a number format, and leave Keras' global setting as it was.

    Args:
        policy: Keras dtype policy, such as "float32" or "mixed_bfloat16".
        architecture: Sizes of the network.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return build_unet(architecture)
    finally:
        keras.config.set_dtype_policy(before)


def _convolutions(x: Any, filters: int, architecture: Architecture) -> Any:
    from keras import layers

    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        if architecture.batch_norm:
            x = batch_normalization(BATCH_NORM_MOMENTUM)(x)
        x = layers.Activation("relu")(x)
    return x


def _scaled(image: Any, architecture: Architecture) -> Any:
    """Scale raw values inside the graph, so that prediction needs no settings."""
    from keras import layers, ops

    if architecture.scaling == "none":
        return image
    if architecture.scaling == "fixed":
        scale = 1.0 / architecture.scale
        # Float32 whatever the policy: raw 12-bit CT values do not fit into bfloat16.
        return layers.Rescaling(scale, -architecture.shift * scale, dtype="float32")(image)
    if architecture.scaling != "image":
        raise ValueError(f"Unknown scaling {architecture.scaling!r}")
    mean = ops.mean(image, axis=(1, 2, 3), keepdims=True)
    centred = ops.subtract(image, mean)
    variance = ops.mean(ops.square(centred), axis=(1, 2, 3), keepdims=True)
    return ops.divide(centred, ops.sqrt(ops.add(variance, VARIANCE_FLOOR)))
