"""One training run, from settings and samples to the best model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpulab.errors import InputError
from gpulab.models.runtime import thread_count
from gpulab.unet import parallel
from gpulab.unet.augment import augmentation_for
from gpulab.unet.calibrate import calibrate
from gpulab.unet.data import Samples, training_batches
from gpulab.unet.device import choose_precision, has_gpu
from gpulab.unet.doubt import choose_sure_dice
from gpulab.unet.losses import Loss, make_loss
from gpulab.unet.network import SCORES_LAYER, Architecture, build_unet_with
from gpulab.unet.order import EpochOrder
from gpulab.unet.sampling import shares_for
from gpulab.unet.settings import TrainingSettings
from gpulab.unet.weights import load_weights

WARM_UP_SHARE = 0.05
FINAL_LEARNING_RATE_SHARE = 0.01
PLATEAU_FACTOR, PLATEAU_PATIENCE, PLATEAU_LOWEST = 0.1, 5, 1e-5  # the original's values
# Beyond this a handful of true pixels would outweigh everything else and training diverges.
LARGEST_FOREGROUND_WEIGHT = 20.0
GRADIENT_NORM = 1.0  # one odd batch must not throw the weights away


@dataclass(frozen=True)
class TrainedModel:
    """What a training run found.

    Attributes:
        model: Keras model with the weights of the best epoch, calibrated.
        architecture: What the model was built from.
        records: One `EpochRecord` an epoch, before calibration.
        best: The record of the best epoch with the validation scores after calibration.
        temperature: What the scores were divided by (`calibrate`).
        sure_dice: Expected Dice below which an image's threshold falls (`choose_sure_dice`).
        epochs: How many epochs were planned.
        cut_short: True when the run was told to stop before its last epoch.
        precision: Keras dtype policy.
        foreground_weight: Weight of a foreground pixel in the cross-entropy.
    """

    model: Any
    architecture: Architecture
    records: list[Any]
    best: Any
    temperature: float
    sure_dice: float
    epochs: int
    cut_short: bool
    precision: str
    foreground_weight: float

    @property
    def best_epoch(self) -> int:
        """Epoch whose weights the model has, from 1."""
        return int(self.best.epoch)


def architecture_for(settings: TrainingSettings, training: Samples) -> Architecture:
    """Return the architecture for the settings and the kind of data."""
    fixed = settings.scaling == "dataset"
    statistics = training.statistics
    return Architecture(
        channels=training.channels,
        classes=training.classes,
        base_filters=settings.base_filters,
        depth=settings.depth,
        dropout=settings.dropout,
        batch_norm=settings.batch_norm,
        scaling="fixed" if fixed else settings.scaling,
        shift=statistics.mean if fixed else 0.0,
        scale=(statistics.deviation or 1.0) if fixed else 1.0,
    )


def check_fit(training: Samples, validation: Samples) -> None:
    """Check that both parts belong together and that there is something to learn.

    Raises:
        InputError: Channels or classes differ, or no training mask has foreground.
    """
    if training.channels != validation.channels:
        raise InputError(
            f"The training images have {training.channels} channel(s) and the validation images "
            f"{validation.channels}; give parts of the same dataset"
        )
    if validation.classes > training.classes:
        raise InputError(
            f"The validation masks have {validation.classes} classes and the training masks "
            f"{training.classes}; give parts of the same dataset"
        )
    if training.foreground == 0.0:
        raise InputError(
            "The training masks hold no foreground pixel at all, so there is nothing to learn; "
            "check that the masks dataset is the right one and that class 0 is the background"
        )
    if validation.foreground == 0.0:
        raise InputError(
            "The validation masks hold no foreground pixel at all, so the best epoch cannot be "
            "chosen; move samples with foreground into the validation part"
        )


def train(
    settings: TrainingSettings,
    training: Samples,
    validation: Samples,
    weights: dict[str, Any] | None = None,
) -> TrainedModel:
    """Train a U-Net and return it with the weights of its best epoch.

    Args:
        settings: What to do.
        training: Samples to learn from.
        validation: Samples by whose foreground Dice the best epoch is chosen.
        weights: Arrays of `read_weights` to begin with, or None for random ones.

    Returns:
        The best model and how it came about.

    Raises:
        InputError: `weights` do not fit.
    """
    with parallel.shared_by(parallel.devices_for(min(settings.batch_size, len(training)))):
        return _train(settings, training, validation, weights)


def _train(
    settings: TrainingSettings,
    training: Samples,
    validation: Samples,
    weights: dict[str, Any] | None,
) -> TrainedModel:
    import keras

    from gpulab.unet import progress

    keras.utils.set_random_seed(settings.seed)
    precision = choose_precision(settings.precision)
    architecture = architecture_for(settings, training)
    model = build_unet_with(precision, architecture)
    parallel.join_batch_norm(model)
    if weights is not None:
        load_weights(model, weights)
    else:
        _start_at_prior(model, training)
    foreground_weight = _foreground_weight(settings, training)
    loss = make_loss(
        settings.loss, tv_weight=settings.tv_weight, foreground_weight=foreground_weight
    )
    batch_size = min(settings.batch_size, len(training))
    shares = shares_for(settings.sampling, training)
    order = EpochOrder(len(training), batch_size, settings.seed, shares)
    epochs = settings.epochs_for(len(order), fast=has_gpu())
    _compile(model, settings, loss, len(order) * epochs)
    multiple = architecture.spatial_multiple
    watch = progress.ForegroundValidation(validation, loss, settings.batch_size, multiple)
    best, stop = progress.BestWeights(), progress.StopOnSignal()
    print(
        f"{model.count_params():,} parameters, {precision}, {len(training)} training and "
        f"{len(validation)} validation samples, {epochs} epochs of {len(order)} steps"
    )
    model.fit(
        training_batches(
            training,
            order,
            augmentation_for(settings.augmentation, turns=settings.turns),
            multiple,
            thread_count(),
        ),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[
            *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if settings.average else []),
            watch,
            best,
            progress.ProgressLines(epochs, len(order)),
            *_plan_callbacks(settings),
            keras.callbacks.TerminateOnNaN(),
            stop,
        ],
    )
    if not best.weights:
        raise InputError(
            "Training diverged in its first epoch (the loss is no finite number); choose a smaller "
            "learning rate, or float32 precision"
        )
    model.set_weights(best.weights)
    print("Calibrating the best epoch's probabilities on validation samples")
    temperature = calibrate(model, validation, settings.batch_size, multiple)
    validated = progress.validate(model, validation, loss, settings.batch_size, multiple)
    threshold = validated["val_best_threshold"]
    sure_dice = choose_sure_dice(model, validation, threshold, settings.batch_size, multiple)
    return TrainedModel(
        model=model,
        architecture=architecture,
        records=watch.records,
        best=replace(watch.records[best.epoch - 1], **validated),
        temperature=temperature,
        sure_dice=sure_dice,
        epochs=epochs,
        cut_short=stop.stopped,
        precision=precision,
        foreground_weight=foreground_weight,
    )


def _start_at_prior(model: Any, training: Samples) -> None:
    """Let the untrained network predict each class as often as it occurs.

    Otherwise the first epochs do nothing but learn that foreground is rare (Lin et al. 2017,
    doi:10.1109/ICCV.2017.324, section 3.3).
    """
    share = training.foreground
    classes = training.classes
    prior = np.full(classes, share / (classes - 1))
    prior[0] = 1 - share
    prior = np.clip(prior, 1e-4, 1 - 1e-4)
    # The inverse of the last activation: a logit for a sigmoid, a logarithm for a softmax.
    bias = np.log(prior / (1 - prior)) if classes == 2 else np.log(prior)
    model.get_layer(SCORES_LAYER).bias.assign(bias)


def _foreground_weight(settings: TrainingSettings, training: Samples) -> float:
    if settings.class_weighting == "none":
        return 1.0
    share = training.foreground
    return float(min((1 - share) / share, LARGEST_FOREGROUND_WEIGHT))


def _compile(model: Any, settings: TrainingSettings, loss: Loss, total: int) -> None:
    import keras

    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        warm_up = max(1, round(total * WARM_UP_SHARE))
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=rate * FINAL_LEARNING_RATE_SHARE,
            decay_steps=max(1, total - warm_up),
            alpha=FINAL_LEARNING_RATE_SHARE,
            warmup_target=rate,
            warmup_steps=warm_up,
        )
    optimizer = parallel.adam(
        rate,
        clipnorm=GRADIENT_NORM,
        use_ema=bool(settings.average),
        ema_momentum=settings.average or 0.99,
    )
    # XLA makes this network ten times slower on a processor (docs/performance.md).
    model.compile(optimizer, parallel.share_of(loss), jit_compile=keras.backend.backend() == "jax")


def _plan_callbacks(settings: TrainingSettings) -> list[Any]:
    import keras

    from gpulab.unet.progress import MONITOR

    callbacks = []
    if settings.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                MONITOR,
                mode="max",
                factor=PLATEAU_FACTOR,
                patience=PLATEAU_PATIENCE,
                min_lr=PLATEAU_LOWEST,
            )
        )
    if settings.patience:
        callbacks.append(
            keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=settings.patience)
        )
    return callbacks


def metadata_classes(classes: int) -> tuple[str, ...]:
    """Return names for the output channels."""
    if classes == 2:
        return ("background", "foreground")
    return ("background", *(f"class {number}" for number in range(1, classes)))
