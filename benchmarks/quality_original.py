"""The original system's training on a fold of benchmarks.quality.

Facts taken over beside those of `benchmarks.original`: 64 filters, batches of 32, 10 epochs, raw
grey values, a tenth of the learning rate after 5 epochs without a smaller validation loss, and the
weights of the epoch with the smallest. (Its notebook kept these weights and exported the last ones;
here it gets what it meant.) Its threshold was chosen on test data; here, as for us, on validation.
It computes in the number format that ours would choose: in bfloat16, where the processor has it,
its 64 filters take two fifths of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.unet.data import Samples, one_hot
from gpulab.unet.device import choose_precision

FILTERS, BATCH, EPOCHS = 64, 32, 10
PATIENCE, FACTOR, LOWEST_RATE = 5, 0.1, 1e-5


def train_original(training: Samples, validation: Samples, seed: int) -> tuple[Any, dict[str, Any]]:
    """Train the original's network in the original's way.

    Returns:
        The Keras model, and `threshold`, `temperature`, `sure_dice`, `best_epoch` and `validation`
        (Dice of the foreground) of a `benchmarks.quality` result.
    """
    import keras

    from benchmarks.original import original_loss, original_model
    from gpulab.unet.progress import validate

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(choose_precision("auto"))
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

    scores = validate(model, validation, original_loss, BATCH, multiple=1)
    return model, {
        "threshold": scores["val_best_threshold"],
        "temperature": 1.0,
        "sure_dice": 0.0,
        "best_epoch": int(np.argmin(history.history["val_loss"])) + 1,
        "validation": scores["val_best_dice"],
    }


def _arrays(samples: Samples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    images, labels = samples.read(np.arange(len(samples)))
    return images, one_hot(labels, samples.classes)
