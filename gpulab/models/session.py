"""A checked mask model, ready to turn images into probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.models.check import check_model
from gpulab.models.layout import ImagePort, image_port, mask_outputs, no_mask, refuse_non_masks
from gpulab.models.metadata import MAX_CLASSES, ModelMetadata
from gpulab.models.runtime import (
    device_name,
    is_out_of_memory,
    make_session,
    runtime_errors,
    thread_count,
)
from gpulab.models.trial import MULTIPLES, TRIAL_TILES, Attempt, fits, try_model

Activation = Literal["auto", "probabilities", "logits", "independent_logits"]
DEFAULT_THRESHOLD = 0.5
# Rounding of 16-bit models may leave the range of probabilities by this much.
TOLERANCE = 1e-3


@dataclass
class MaskModel:
    """A mask model from `open_model`.

    Attributes:
        label: What the user calls it.
        metadata: The contract, for models of this package.
        class_names: Names of the classes, the background first.
        multiple: Free heights and widths must be multiples of this many pixels.
        device: The device it runs on, in words.
    """

    label: str
    metadata: ModelMetadata | None
    class_names: tuple[str, ...]
    multiple: int
    device: str
    _session: Any
    _port: ImagePort
    _output: str
    _activation: Activation

    @property
    def classes(self) -> int:
        """Number of classes with the background."""
        return len(self.class_names)

    @property
    def threshold(self) -> float:
        """The model's own threshold, or 0.5 where it names none."""
        return self.metadata.threshold if self.metadata else DEFAULT_THRESHOLD

    @property
    def sure_dice(self) -> float:
        """Expected Dice below which an image's threshold falls; 0 for one for all images."""
        return self.metadata.sure_dice if self.metadata else 0.0

    @property
    def mirrored(self) -> bool:
        """Whether it learnt from images mirrored left to right; False where unknown."""
        return self.metadata is not None and self.metadata.mirrored

    @property
    def loss(self) -> str:
        """Name of the loss it was trained with; empty where unknown."""
        return self.metadata.loss if self.metadata else ""

    @property
    def height(self) -> int | None:
        """Height in pixels that images must have, None where free."""
        return self._port.height

    @property
    def width(self) -> int | None:
        """Width in pixels that images must have, None where free."""
        return self._port.width

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict class probabilities.

        Args:
            images: Raw values, float32 (b, h, w, c), of a size that the model takes.

        Returns:
            Probabilities, float32 (b, h, w, classes), the background first.

        Raises:
            InputError: The model's values are no probabilities.
            MemoryError: The batch does not fit in memory.
        """
        step = self._port.batch or len(images)
        parts = [self._run(images[i : i + step], step) for i in range(0, len(images), step)]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return to_probabilities(values, self._activation, self.label)

    def _run(self, images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        feed = _as_dtype(images, self._port.dtype, self.label)
        missing = size - len(feed) if self._port.batch else 0
        if missing:
            feed = np.concatenate([feed, np.repeat(feed[-1:], missing, axis=0)])
        if self._port.layout == "first":
            feed = np.ascontiguousarray(np.moveaxis(feed, -1, 1))
        try:
            (output,) = self._session.run([self._output], {self._port.name: feed})
        except runtime_errors() as error:
            if is_out_of_memory(error):
                raise MemoryError("ONNX Runtime ran out of memory") from error
            raise InputError(
                f"The model {self.label!r} cannot be run on images of {images.shape[1]} x "
                f"{images.shape[2]} pixels, choose tiling or another tile size "
                f"({' '.join(str(error).split())[-160:]})"
            ) from error
        values = np.asarray(output, dtype=np.float32)
        if self._port.layout == "first":
            values = np.moveaxis(values, 1, -1)
        return values[: len(images)]


def open_model(
    path: Path,
    label: str,
    *,
    channels: int,
    layout: str = "auto",
    activation: Activation = "auto",
    gpu: bool = True,
) -> MaskModel:
    """Check an untrusted model, try it, and make it ready.

    Args:
        path: The ONNX file.
        label: What the user calls it, for messages and tables.
        channels: Channels of the images that it shall predict.
        layout: Order of its axes: `first`, `last` or `auto`.
        activation: What its output holds: probabilities, logits of exclusive classes (softmax; a
            single channel goes through the sigmoid), logits of independent channels (sigmoid), or
            `auto`, which takes probabilities and checks them.
        gpu: Whether to use a GPU where there is one.

    Raises:
        InputError: The file is no mask model, or does not fit the images.
    """
    facts = check_model(path, label)
    refuse_non_masks(facts, label)
    port = image_port(facts, label, layout)
    if port.channels is not None and port.channels != channels:
        raise InputError(
            f"The model {label!r} takes images with {_count(port.channels, 'channel')}, but these "
            f"have {_count(channels, 'channel')}, give it images like those that it was trained on"
        )
    attempts = try_model(path, port, _trial_sizes(port, facts.metadata), channels, label)
    last = attempts[-1]
    names = [output.name for output in mask_outputs(facts)]
    output = next((n for n in names if fits(_shape(last, n), port, last.height, last.width)), None)
    if output is None:
        raise InputError(_why_not(attempts, label))
    stored = _shape(last, output)[1 if port.layout == "first" else 3]
    threads = thread_count()
    session = make_session(path.read_bytes(), gpu=gpu, threads=threads)
    return MaskModel(
        label=label,
        metadata=facts.metadata,
        class_names=_class_names(stored, facts.metadata, label),
        multiple=_multiple(port, facts.metadata, last),
        device=device_name(session, threads),
        _session=session,
        _port=port,
        _output=output,
        _activation=activation,
    )


def to_probabilities(
    values: NDArray[np.float32], activation: Activation, label: str
) -> NDArray[np.float32]:
    """Turn a model's output into class probabilities with the background first.

    Args:
        values: float32 (b, h, w, k); k = 1 is the foreground alone.
        activation: What the values are, see `open_model`.
        label: What the user calls the model.

    Returns:
        float32 (b, h, w, max(k, 2)).

    Raises:
        InputError: NaN or infinity, or probabilities outside [0, 1].
    """
    if not np.isfinite(values).all():
        raise InputError(
            f"The model {label!r} gives NaN or infinity for these images, check that it was "
            f"trained on images of this value range"
        )
    if activation in ("auto", "probabilities"):
        low, high = float(values.min()), float(values.max())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise InputError(
                f"The model {label!r} gives values from {low:.3g} to {high:.3g}, which are no "
                f"probabilities, choose 'logits' for what its output holds"
            )
        values = np.clip(values, 0.0, 1.0)
    elif activation == "logits" and values.shape[-1] > 1:
        from scipy.special import softmax

        values = softmax(values, axis=-1)
    else:
        from scipy.special import expit

        values = expit(values)
    if values.shape[-1] == 1:
        values = np.concatenate([1.0 - values, values], axis=-1)
    return values.astype(np.float32, copy=False)


def _as_dtype(images: NDArray[np.float32], dtype: str, label: str) -> NDArray[Any]:
    if dtype != "uint8":
        return images.astype(dtype, copy=False)
    whole = images.astype(np.uint8)
    if images.min() < 0 or images.max() > 255 or not np.array_equal(whole, images):
        raise InputError(
            f"The model {label!r} takes 8-bit images, but these hold values other than whole "
            f"numbers from 0 to 255, convert them first"
        )
    return whole


def _trial_sizes(port: ImagePort, metadata: ModelMetadata | None) -> list[tuple[int, int]]:
    multiples = MULTIPLES if metadata is None else (metadata.spatial_multiple,)
    sides = [(port.height or TRIAL_TILES * m, port.width or TRIAL_TILES * m) for m in multiples]
    return list(dict.fromkeys(sides))


def _multiple(port: ImagePort, metadata: ModelMetadata | None, last: Attempt) -> int:
    if metadata is not None:
        return metadata.spatial_multiple
    free = [
        side
        for side, fixed in ((last.height, port.height), (last.width, port.width))
        if fixed is None
    ]
    return free[0] // TRIAL_TILES if free else 1


def _shape(attempt: Attempt, name: str) -> tuple[int, ...]:
    return attempt.shapes.get(name, ())


def _why_not(attempts: list[Attempt], label: str) -> str:
    ran = [attempt for attempt in attempts if attempt.shapes]
    if not ran:
        return (
            f"The model {label!r} cannot be run on a blank image of {attempts[-1].height} x "
            f"{attempts[-1].width} pixels ({attempts[-1].error}), export it again"
        )
    last = ran[-1]
    shapes = [shape for shape in last.shapes.values() if len(shape) == 4]
    if not shapes:
        return no_mask(label, max(len(shape) for shape in last.shapes.values()))
    listed = " x ".join(map(str, shapes[0]))
    return (
        f"The model {label!r} is not a mask model: for an image of {last.height} x {last.width} "
        f"pixels it gives {listed} values, a mask has the image's height and width"
    )


def _class_names(stored: int, metadata: ModelMetadata | None, label: str) -> tuple[str, ...]:
    classes = max(2, stored)
    if classes > MAX_CLASSES:
        raise InputError(
            f"The model {label!r} gives {stored} channels, more than the {MAX_CLASSES} classes "
            f"that a mask can hold, give a model with fewer"
        )
    if metadata is None:
        if classes == 2:
            return ("background", "foreground")
        return ("background", *(f"class_{number}" for number in range(1, classes)))
    if len(metadata.class_names) != classes:
        raise InputError(
            f"The model {label!r} names {len(metadata.class_names)} classes but gives {classes} "
            f"channels, train or export it again"
        )
    return metadata.class_names


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
