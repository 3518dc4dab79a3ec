"""Training on all devices of a job at once: each computes its share of every batch.

The batch size is that of the whole step, whatever the number of devices, and everything that is
taken over the batch (loss, batch normalisation, clipping of gradients) is taken over the whole
batch. So the number of devices changes how long a step takes, not what is learnt, but for rounding
and, on TensorFlow, the random choices of dropout.

JAX computes so by itself (`keras.distribution.DataParallel`). TensorFlow's `MirroredStrategy`
treats each device's share as a batch of its own, hence `share_of`, `sum_over_devices`,
`join_batch_norm` and `adam`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.unet import fused


def device_count() -> int:
    """Return how many devices of the kind that trains this process sees, at least 1."""
    return max(1, len(_devices()))


def devices_for(batch_size: int) -> int:
    """Return how many devices share a batch: the most that there are and that divide it evenly.

    Another batch size than the one that was asked for would be another training, and shares of
    unequal size would weigh some images more.
    """
    return max(n for n in range(1, device_count() + 1) if batch_size % n == 0)


@contextlib.contextmanager
def shared_by(devices: int) -> Iterator[None]:
    """Let models that are built, compiled and trained inside use so many devices.

    Args:
        devices: What `devices_for` returned; with 1, nothing is changed.
    """
    if devices == 1:
        yield
        return
    names = _devices()[:devices]
    print(f"{devices} of {device_count()} devices share each batch evenly")
    if _backend() == "jax":
        import keras

        with keras.distribution.DataParallel(devices=names).scope():
            yield
        return
    import tensorflow as tf

    # TensorFlow's own choice, collective operations, hung where a step has many small sums.
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in names], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        yield


def replicas(model: Any) -> int:
    """Return how many devices a model computes on."""
    if _backend() == "tensorflow":
        return int(model.distribute_strategy.num_replicas_in_sync)
    import keras

    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def predict(model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `model.predict_on_batch(images)` for any number of images and devices.

    Args:
        model: Keras model, made for one device or several.
        images: Float32 (b, h, w, channels).

    Returns:
        Probabilities, float32 (b, h, w, classes).
    """
    devices = replicas(model)
    if devices == 1:
        return np.asarray(model.predict_on_batch(images))
    # JAX wants equal shares. TensorFlow computes the batch on each device and joins the copies.
    rows = -(-len(images) // devices) * devices
    filled = np.resize(images, (rows, *images.shape[1:]))
    return np.asarray(model.predict_on_batch(filled))[: len(images)]


def sum_over_devices(value: Any) -> Any:
    """Return the sum over the devices' shares of a batch of a tensor that was summed over each.

    Gradients pass through. Outside a step shared by TensorFlow devices it is the tensor itself.
    """
    if _backend() != "tensorflow":
        return value
    import tensorflow as tf

    # There is none outside of a step, and one of a single device without a strategy.
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def share_of(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the loss to compile a model with, given one that returns the mean over a batch.

    TensorFlow adds up what the devices' losses say. Keras therefore divides a loss by their number,
    but only where the loss has a value for each image.
    """
    devices = _mirrored_devices()
    if devices == 1:
        return loss
    return lambda truth, predicted: loss(truth, predicted) / devices


def join_batch_norm(model: Any) -> None:
    """Let batch normalisation of a model for several TensorFlow devices see the whole batch.

    A share may be two images, whose mean and variance are far from those of the batch.
    """
    if _mirrored_devices() == 1:
        return
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def adam(learning_rate: Any, *, clipnorm: float, **options: Any) -> Any:
    """Return Adam (`fused.adam` on one device) that clips the gradients of the whole batch.

    On several TensorFlow devices, Keras clips each device's gradients (those of the batch divided
    by the number of devices) and then adds them up.

    Args:
        learning_rate: Learning rate or schedule.
        clipnorm: Largest norm of a weight's gradient.
        **options: Further arguments of `keras.optimizers.Adam`.
    """
    devices = _mirrored_devices()
    if devices == 1:
        return fused.adam(learning_rate, clipnorm=clipnorm, **options)
    import keras

    class JoinedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no stubs
        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            # Each device clips the same mean of all; Keras then adds up as many equal gradients.
            joined = [sum_over_devices(gradient) / devices for gradient in grads]
            super().apply(joined, trainable_variables)

    return JoinedAdam(learning_rate, clipnorm=clipnorm / devices, **options)


def _devices() -> list[Any]:
    """Return this process' GPUs, or its processors as a backend counts them: one, but in tests."""
    if _backend() == "jax":
        import jax

        return list(jax.local_devices())
    if _backend() != "tensorflow":
        return []
    import tensorflow as tf

    return list(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))


def _mirrored_devices() -> int:
    """Return how many TensorFlow devices `shared_by` is using just now, 1 on another backend."""
    if _backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _backend() -> str:
    import keras

    return str(keras.backend.backend())
