"""The original system's training on a fold of benchmarks.quality.

Facts taken over beside those of `benchmarks.original`: 64 filters, batches of 32, 10 epochs, raw
grey values, a tenth of the learning rate after 5 epochs without a smaller validation loss, and the
weights of the epoch with the smallest. (Its notebook kept these weights and exported the last ones;
here it gets what it meant.) Its threshold was chosen on test data; here, as for us, on validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.models.overlap import ProbabilityHistogram
from gpulab.unet.data import Samples, one_hot

FILTERS, BATCH, EPOCHS = 64, 32, 10
PATIENCE, FACTOR, LOWEST_RATE = 5, 0.1, 1e-5

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def train_original(
    training: Samples, validation: Samples, seed: int
) -> tuple[Predict, dict[str, Any]]:
    """Train the original's network in the original's way.

    Returns:
        A function from images to probabilities of both channels, and `threshold`, `temperature`,
        `best_epoch` and `validation` (Dice of the foreground) of a `benchmarks.quality` result.
    """
    import keras

    from benchmarks.original import original_model

    keras.utils.set_random_seed(seed)
    model = original_model(FILTERS, training.height)
    x, y = _arrays(training)
    keep = keras.callbacks.EarlyStopping(patience=EPOCHS, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(
        factor=FACTOR, patience=PATIENCE, min_lr=LOWEST_RATE
    )
    history = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=_arrays(validation),
        callbacks=[keep, plateau],
        verbose=0,
    )

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model.predict(images, batch_size=BATCH, verbose=0))

    histogram = ProbabilityHistogram(validation.classes)
    for images, labels in validation.batches(BATCH):
        histogram.add(labels, predict(images))
    threshold = histogram.best_threshold()
    return predict, {
        "threshold": threshold,
        "temperature": 1.0,
        "best_epoch": int(np.argmin(history.history["val_loss"])) + 1,
        "validation": histogram.mean_dice(threshold),
    }


def _arrays(samples: Samples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    images, labels = samples.read(np.arange(len(samples)))
    return images, one_hot(labels, samples.classes)
