"""Batch normalisation and Adam in the single kernels that TensorFlow has for them.

Keras 3 composes both of elementary operations, each of which goes through memory once more: on
processors that is a good part of a training step (docs/performance.md). The results are the same
but for rounding. Other backends compile such chains themselves and get Keras' own.
"""

from __future__ import annotations

from typing import Any


def batch_normalization(momentum: float) -> Any:
    """Return a `keras.layers.BatchNormalization` of the last axis.

    Args:
        momentum: Share of the old value in the moving averages.
    """
    import keras

    if not _has_kernels():
        return keras.layers.BatchNormalization(momentum=momentum)
    import tensorflow as tf

    # The name is Keras' own, so that layers and weights are called the same on each backend.
    class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training or not self.trainable:
                return super().call(inputs, training=training, mask=mask)
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs,
                tf.cast(self.gamma, tf.float32),
                tf.cast(self.beta, tf.float32),
                epsilon=self.epsilon,
                is_training=True,
            )
            # The kernel's variance is that of a sample, n - 1; Keras averages over n.
            count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
            for moving, now in (
                (self.moving_mean, mean),
                (self.moving_variance, variance * (count - 1) / count),
            ):
                moving.assign(moving * self.momentum + now * (1 - self.momentum))
            return outputs

    return BatchNormalization(momentum=momentum)


def adam(learning_rate: Any, **settings: Any) -> Any:
    """Return a `keras.optimizers.Adam`.

    Args:
        learning_rate: A number or a schedule of Keras.
        settings: Other arguments of `keras.optimizers.Adam`, but `amsgrad`.
    """
    import keras

    if not _has_kernels():
        return keras.optimizers.Adam(learning_rate, **settings)
    import tensorflow as tf

    class Adam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no stubs
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if keras.backend.standardize_dtype(variable.dtype) != "float32":
                # The kernel ends the process where its arguments are of different types.
                super().update_step(gradient, variable, learning_rate)
                return
            index = self._get_variable_index(variable)
            step = tf.cast(self.iterations + 1, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                var=_handle(variable),
                m=_handle(self._momentums[index]),
                v=_handle(self._velocities[index]),
                beta1_power=tf.pow(self.beta_1, step),
                beta2_power=tf.pow(self.beta_2, step),
                lr=tf.cast(learning_rate, tf.float32),
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=tf.cast(gradient, tf.float32),
            )

    return Adam(learning_rate, **settings)


def _has_kernels() -> bool:
    """Tell whether TensorFlow computes, on one device: replicas keep their variables apart."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()


def _handle(variable: Any) -> Any:
    """Return what a kernel writes to, of a variable of TensorFlow or of Keras' around it."""
    import keras

    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
