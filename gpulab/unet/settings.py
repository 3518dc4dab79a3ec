"""What a training run is told to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.h5.each_sample import WEIGHTS
from gpulab.unet.augment import STRENGTHS
from gpulab.unet.losses import LOSSES

SCALINGS = ("dataset", "image", "none")
SCHEDULES = ("cosine", "plateau", "constant")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
CLASS_WEIGHTINGS = ("none", "balanced")
CPU_STEPS, GPU_STEPS = 3200, 8000
FEWEST_EPOCHS, MOST_EPOCHS = 3, 200  # each epoch also costs a validation
SAMPLINGS = ("rare", "groups", "foreground", "even")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides how a U-Net is trained; the defaults are those of the form.

    Attributes:
        base_filters: Filters of the first level.
        depth: Down-sampling steps.
        dropout: Share of feature maps dropped.
        batch_norm: Batch normalisation after each convolution.
        scaling: "dataset" (mean and deviation of the training data), "image" or "none".
        loss: One of `LOSSES`.
        tv_weight: Weight of the total variation in "bce_tv".
        class_weighting: "none", or "balanced": foreground and background count the same in sum.
        augmentation: One of `STRENGTHS`.
        turns: Lay the training images down in all eight ways, whatever the augmentation.
        sampling: Which training images come more often: "rare" (those that look like few others),
            "groups" (every group alike), "foreground" (those with much of it) or "even" (none).
        average: Momentum of the moving average of the weights that is validated and exported; 0
            takes the weights themselves.
        epochs: Largest number of epochs; 0 lets the number of steps decide (`epochs_for`).
        batch_size: Images in a step.
        learning_rate: Largest learning rate.
        schedule: "cosine" (warm-up, then down to nearly zero), "plateau" (a tenth after 5 epochs
            without a better Dice, as in the original) or "constant".
        patience: Epochs without a better Dice after which training stops; 0 never stops early.
        precision: "auto", "float32", "bfloat16" or "float16".
        seed: Seed of every random choice.
        deterministic: Compute in one order whatever it costs (`run_training` sees to it, since it
            is a setting of the whole process).
    """

    base_filters: int = 16
    depth: int = 4
    dropout: float = 0.2
    batch_norm: bool = True
    scaling: str = "dataset"
    loss: str = "bce_dice"
    tv_weight: float = 0.1
    class_weighting: str = "none"
    augmentation: str = "light"
    turns: bool = False
    sampling: str = "rare"
    average: float = 0.0
    epochs: int = 0
    batch_size: int = 8
    learning_rate: float = 0.003
    schedule: str = "cosine"
    patience: int = 0
    precision: str = "auto"
    seed: int = 42
    deterministic: bool = False

    def __post_init__(self) -> None:
        _one_of("loss", self.loss, LOSSES)
        _one_of("input scaling", self.scaling, SCALINGS)
        _one_of("learning-rate plan", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("class weighting", self.class_weighting, CLASS_WEIGHTINGS)
        _one_of("augmentation", self.augmentation, tuple(STRENGTHS))
        _one_of("sampling", self.sampling, SAMPLINGS)
        _in_range("momentum of the average", self.average, 0.0, 0.9999)
        _in_range("base filters", self.base_filters, 1, 256)
        _in_range("depth", self.depth, 1, 6)
        _in_range("dropout", self.dropout, 0.0, 0.9)
        _in_range("total-variation weight", self.tv_weight, 0.0, 100.0)
        _in_range("number of epochs", self.epochs, 0, 10_000)
        _in_range("batch size", self.batch_size, 1, 4096)
        _in_range("learning rate", self.learning_rate, 1e-8, 1.0)
        _in_range("patience", self.patience, 0, 10_000)
        _in_range("seed", self.seed, 0, 2**32 - 1)

    def epochs_for(self, steps: int, *, fast: bool) -> int:
        """Return how many epochs to train for.

        A number of epochs means little by itself: with 30 images ten epochs are 40 steps, which
        teach a network nothing, with 100,000 they are more than enough. So the steps decide, and a
        GPU takes more of them in less time (docs/quality.md tells what they bring).

        Args:
            steps: Steps in an epoch.
            fast: Whether a GPU trains.
        """
        if self.epochs:
            return self.epochs
        wanted = math.ceil((GPU_STEPS if fast else CPU_STEPS) / steps)
        return min(max(wanted, FEWEST_EPOCHS), MOST_EPOCHS)


@dataclass(frozen=True)
class DatasetNames:
    """Names of the datasets inside a file: images, masks, and weights that may be missing."""

    images: str = "images"
    masks: str = "masks"
    weights: str = WEIGHTS


@dataclass(frozen=True)
class TrainingInputs:
    """Which files a training run reads, and the names of the datasets in them.

    Attributes:
        training: HDF5 file with the training part.
        validation: HDF5 file with the validation part.
        weights: Weights of an earlier run (safetensors) to continue from, or None.
        training_names: Names of the datasets in `training`.
        validation_names: Names of the datasets in `validation`.
    """

    training: Path
    validation: Path
    weights: Path | None = None
    training_names: DatasetNames = DatasetNames()
    validation_names: DatasetNames = DatasetNames()


def settings_from_params(params: Mapping[str, Any]) -> TrainingSettings:
    """Read the settings from the sections of the form.

    Raises:
        InputError: A value is not one of those offered.
    """
    values: dict[str, Any] = {}
    for section in ("network", "loss", "optimiser"):
        values.update(params.get(section) or {})
    fields = TrainingSettings.__dataclass_fields__
    # An optional field of the form that was left empty is null.
    known = {name: values[name] for name in fields if values.get(name) is not None}
    return TrainingSettings(**known)


def inputs_from_params(params: Mapping[str, Any]) -> TrainingInputs:
    """Read the files and names from the form.

    Raises:
        InputError: Training or validation data are missing.
    """
    for name in ("training", "validation"):
        if not params.get(name):
            raise InputError(
                f"No {name} data were given; choose an HDF5 dataset, for instance one made by "
                "h5_dataset_split"
            )
    weights = params.get("weights")
    names = params.get("names") or {}
    return TrainingInputs(
        training=Path(params["training"]),
        validation=Path(params["validation"]),
        weights=Path(weights) if weights else None,
        training_names=_names(names, "training"),
        validation_names=_names(names, "validation"),
    )


def _names(form: Mapping[str, Any], part: str) -> DatasetNames:
    given = {
        kind: str(form[f"{part}_{kind}"] or "").strip()
        for kind in ("images", "masks", "weights")
        if f"{part}_{kind}" in form
    }
    # Weights are switched off by an empty name; images and masks there must be.
    return DatasetNames(**{kind: name for kind, name in given.items() if name or kind == "weights"})


def _one_of(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"The {what} {value!r} is not known; choose one of {', '.join(choices)}")


def _in_range(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"The {what} is {value}; choose a value from {low} to {high}")
