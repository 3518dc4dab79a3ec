"""Callbacks of a training run: validation of the foreground, progress lines, orderly stop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import keras
import numpy as np

from gpulab.models.overlap import ProbabilityHistogram
from gpulab.unet.data import Samples, one_hot, predict_samples
from gpulab.unet.losses import Loss
from gpulab.unet.parallel import predict

LINE_EVERY_SECONDS = 10.0
VALIDATION_THRESHOLD = 0.5
MONITOR = "val_best_dice"


@dataclass(frozen=True)
class EpochRecord:
    """One row of the learning history; all measures are of the foreground alone.

    `val_dice` to `val_specificity` are those at threshold 0.5, `val_best_dice` is the Dice at the
    threshold that is best for this epoch, `val_best_threshold`. Where the validation data have
    weights, they hold for all but the losses.
    """

    epoch: int
    seconds: float
    learning_rate: float
    loss: float
    val_loss: float
    val_dice: float
    val_iou: float
    val_sensitivity: float
    val_specificity: float
    val_best_dice: float
    val_best_threshold: float


def evaluate(
    model: Any, samples: Samples, loss: Loss, batch_size: int, multiple: int
) -> tuple[float, ProbabilityHistogram]:
    """Run the model over samples without changing it.

    Args:
        model: Keras model from images to probabilities.
        samples: What to predict.
        loss: The loss to average.
        batch_size: Images at a time.
        multiple: Height and width are padded to multiples of this, and cut back.

    Returns:
        The mean loss, in which all samples count the same, and the pixels counted by truth and
        probability, those of a sample as much as its weight says.
    """
    histogram = ProbabilityHistogram(samples.classes)
    total = 0.0
    answer, every = partial(predict, model), np.arange(len(samples))
    for batch, output, labels in predict_samples(answer, samples, every, batch_size, multiple):
        truth = one_hot(labels, output.shape[-1])
        total += float(loss(truth, output)) * len(labels)
        histogram.add(labels, output, samples.weights_of(batch))
    return total / len(samples), histogram


def validate(
    model: Any, samples: Samples, loss: Loss, batch_size: int, multiple: int
) -> dict[str, Any]:
    """Return the fields of `EpochRecord` that begin with `val_`; arguments as in `evaluate`."""
    val_loss, histogram = evaluate(model, samples, loss, batch_size, multiple)
    counts = histogram.counts(VALIDATION_THRESHOLD)
    threshold = histogram.best_threshold()
    return {
        "val_loss": val_loss,
        "val_dice": histogram.mean_dice(VALIDATION_THRESHOLD),
        "val_iou": float(np.mean([count.iou for count in counts])),
        "val_sensitivity": float(np.mean([count.sensitivity for count in counts])),
        "val_specificity": float(np.mean([count.specificity for count in counts])),
        "val_best_dice": histogram.mean_dice(threshold),
        "val_best_threshold": threshold,
    }


class ForegroundValidation(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no stubs
    """Adds the foreground's measures on validation data to each epoch's logs.

    It must be the first callback, so that the others see what it adds. Keras' own metrics inside
    the compiled step cost up to half of a small step; counting in validation alone costs nothing
    there.

    Args:
        samples: Validation samples.
        loss: The training loss.
        batch_size: Images at a time.
        multiple: Height and width are padded to multiples of this.
    """

    def __init__(self, samples: Samples, loss: Loss, batch_size: int, multiple: int) -> None:
        super().__init__()
        self._samples, self._loss = samples, loss
        self._batch_size, self._multiple = batch_size, multiple
        self._began = 0.0
        self.records: list[EpochRecord] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate and keep the epoch's row of the history."""
        if logs is None:
            return
        validated = validate(
            self.model, self._samples, self._loss, self._batch_size, self._multiple
        )
        record = EpochRecord(
            epoch=epoch + 1,
            seconds=time.perf_counter() - self._began,
            learning_rate=float(self.model.optimizer.learning_rate),
            loss=float(logs["loss"]),
            **validated,
        )
        self.records.append(record)
        logs.update(validated)


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the epoch with the largest validation Dice, the earliest of equals.

    The Dice is that at the epoch's best threshold, since that threshold goes with the model: at a
    fixed one, an early epoch that ranks pixels well but is shy of 0.5 would count as nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self.dice = -1.0
        self.weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Copy the weights if this epoch is the best so far."""
        values = logs or {}
        dice = values.get(MONITOR, -1.0)
        # An epoch that ended in NaN may have kept a Dice above -1 by chance.
        if dice > self.dice and math.isfinite(values.get("loss", math.nan)):
            self.epoch, self.dice = epoch + 1, dice
            self.weights = self.model.get_weights()


class ProgressLines(keras.callbacks.Callback):  # type: ignore[misc]
    """Prints a line an epoch with the time left, and one every ten seconds within long epochs.

    Args:
        epochs: Number of epochs planned.
        steps: Steps in an epoch.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__()
        self._epochs, self._steps = epochs, steps
        self._start: float | None = None
        self._last_line = time.perf_counter()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember which epoch it is."""
        self._epoch = epoch
        self._last_line = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Print a line if none was printed for a while."""
        now = time.perf_counter()
        if self._start is None:
            # The first step traces the network; counted in, it would promise hours.
            self._start = now
            return
        if now - self._last_line < LINE_EVERY_SECONDS:
            return
        self._last_line = now
        done = self._epoch * self._steps + batch + 1
        print(
            f"  epoch {self._epoch + 1}/{self._epochs}, step {batch + 1}/{self._steps}, "
            f"loss {float((logs or {}).get('loss', float('nan'))):.4f}, {self._left(now, done)}"
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print the epoch's line."""
        values = logs or {}
        print(
            f"Epoch {epoch + 1}/{self._epochs}: loss {values['loss']:.4f}, "
            f"validation loss {values['val_loss']:.4f}, Dice {values['val_dice']:.4f}, "
            f"IoU {values['val_iou']:.4f}, sensitivity {values['val_sensitivity']:.4f}, "
            f"specificity {values['val_specificity']:.4f}, "
            f"{self._left(time.perf_counter(), (epoch + 1) * self._steps)}"
        )

    def _left(self, now: float, steps_done: int) -> str:
        left = self._epochs * self._steps - steps_done
        if self._start is None or (steps_done == 1 and left):
            return "time left not known yet"
        seconds = (now - self._start) / max(steps_done - 1, 1) * left
        minutes, seconds = divmod(round(seconds), 60)
        return f"about {minutes} min {seconds:02d} s left"


class StopOnSignal(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training in order after the current step when the job is told to stop (SIGTERM)."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False
        self._previous: Callable[[int, FrameType | None], Any] | int | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Listen for the signal."""
        self._previous = signal.signal(signal.SIGTERM, self._note)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Ignore repeated signals from here on: only the export is left, and it shall end."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN if self.stopped else self._previous)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True
        print("Asked to stop: this is the last step; the best model so far will be exported")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop if the signal came."""
        if self.stopped:
            self.model.stop_training = True
