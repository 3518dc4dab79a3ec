"""The original system's training, re-created from the description of its notebook.

Facts taken over: layers and their sizes, loss (binary cross-entropy plus 2.4e-7 times a total
variation on the wrong axis), metrics (accuracy, Dice loss, recall and precision over both
channels), Adam at 0.001, float32 NumPy arrays fed by `Model.fit`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

TV_WEIGHT = 2.4e-7
SMOOTHING = 1e-4


def original_loss(truth: Any, predicted: Any) -> Any:
    """Return the notebook's loss, wrong axis included."""
    entropy = ops.mean(
        keras.losses.binary_crossentropy(
            ops.reshape(truth, (1, -1)), ops.reshape(predicted, (1, -1))
        )
    )
    wrong = predicted[:, :, 1]
    variation = ops.mean(ops.abs(wrong[:, 1:] - wrong[:, :-1])) + ops.mean(
        ops.abs(wrong[:, :, 1:] - wrong[:, :, :-1])
    )
    return entropy + TV_WEIGHT * variation


def dice_loss(truth: Any, predicted: Any) -> Any:
    """Return the notebook's metric over both channels."""
    overlap = ops.sum(truth * predicted)
    return 1 - (2 * overlap + SMOOTHING) / (ops.sum(truth) + ops.sum(predicted) + SMOOTHING)


def original_model(base_filters: int, size: int) -> keras.Model:
    """Build and compile the notebook's model for images of a fixed size."""
    image = keras.Input((size, size, 1), name="img")
    x, skips = image, []
    for level in range(4):
        x = _block(x, base_filters * 2**level)
        skips.append(x)
        x = layers.Dropout(0.2)(layers.MaxPooling2D(2)(x))
    x = _block(x, base_filters * 16)
    for level in reversed(range(4)):
        filters = base_filters * 2**level
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same")(x)
        x = layers.Dropout(0.2)(layers.Concatenate()([x, skips[level]]))
        x = _block(x, filters)
    # Float32 whatever the policy: 16 bits cannot tell probabilities near 1 apart.
    output = layers.Conv2D(2, 1, activation="sigmoid", dtype="float32")(x)
    model = keras.Model(image, output)
    model.compile(
        keras.optimizers.Adam(0.001),
        original_loss,
        metrics=[
            "accuracy",
            dice_loss,
            keras.metrics.Recall(name="recall_1"),
            keras.metrics.Precision(name="pre_1"),
        ],
        # Keras 3 would choose XLA, which did not exist in the notebook's TensorFlow 2.7 default
        # and is ten times slower on processors.
        jit_compile=False,
    )
    return model


def _block(x: Any, filters: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return x
