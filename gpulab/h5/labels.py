"""What masks may look like, and their translation to class numbers.

Two forms are known: one-hot, (n, h, w, classes) with exactly one 1 in each pixel, and class
numbers, (n, h, w) or (n, h, w, 1) with 0 for the background. Masks that hold 0 and 255 alone,
which is how most programs save a binary picture, are class numbers 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError

MAX_CLASSES = 64
_ADVICE = "give class numbers from 0 on, or make the masks with h5_dataset_build"


@dataclass(frozen=True)
class MaskForm:
    """How the masks of a part are stored.

    Attributes:
        classes: Number of classes with the background, at least 2.
        one_hot: Whether the last axis holds one channel a class.
        scale: 255 where class 1 is stored as 255, otherwise 1.
    """

    classes: int
    one_hot: bool
    scale: int = 1


def whole_numbers(masks: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Return mask values as uint8.

    Args:
        masks: Any shape, any number type.
        where: Names the dataset and the input in the message.

    Raises:
        InputError: A value is not a whole number between 0 and 255.
    """
    if masks.dtype.kind == "b":
        return masks.astype(np.uint8)
    if masks.dtype.kind == "f" and not np.isfinite(masks).all():
        raise InputError(f"The {where} holds NaN or infinity, {_ADVICE}")
    low, high = masks.min(), masks.max()
    if low < 0 or high > 255:
        raise InputError(
            f"The {where} holds the value {(low if low < 0 else high):g}, which is no class, "
            f"{_ADVICE}"
        )
    numbers = masks.astype(np.uint8)
    if masks.dtype.kind == "f" and not np.array_equal(numbers, masks):
        odd = masks[numbers != masks].flat[0]
        raise InputError(
            f"The {where} holds the value {odd:.6g}, which is no class (masks that were resized "
            f"with interpolation or hold probabilities must be rounded first), {_ADVICE}"
        )
    return numbers


def form_of_values(present: NDArray[np.bool_], declared: int | None, where: str) -> MaskForm:
    """Tell the form of class-number masks from the values that occur in them.

    Args:
        present: bool (256,), which values occur.
        declared: Number of classes that the file says it has, if it does.
        where: Names the dataset and the input in the message.

    Raises:
        InputError: The values are neither class numbers below 64 nor 0 and 255 alone.
    """
    values = np.flatnonzero(present)
    top = int(values[-1])
    if top == 255 and set(values.tolist()) <= {0, 255}:
        return MaskForm(classes=2, one_hot=False, scale=255)
    if top >= MAX_CLASSES:
        listed = ", ".join(map(str, values[:8])) + (", …" if len(values) > 8 else "")
        raise InputError(f"The {where} holds the values {listed}, which are no classes, {_ADVICE}")
    known = declared if declared is not None and declared <= MAX_CLASSES else 2
    return MaskForm(classes=max(2, top + 1, known), one_hot=False)


def class_numbers(
    masks: NDArray[Any], form: MaskForm, where: str, first: int = 0
) -> NDArray[np.uint8]:
    """Translate stored masks to class numbers.

    Args:
        masks: (b, h, w), (b, h, w, 1) or one-hot (b, h, w, classes).
        form: Form of the masks.
        where: Names the dataset and the input in the message.
        first: Number of the first of these samples, for the message.

    Returns:
        Class numbers, uint8 (b, h, w).

    Raises:
        InputError: A value is no class, or a pixel of one-hot masks has not exactly one 1.
    """
    numbers = whole_numbers(masks, where)
    if not form.one_hot:
        return _single_channel(numbers, form, where)
    # The sum is taken in 32 bits: 256 ones would come back to zero in 8.
    sums = numbers.sum(axis=-1, dtype=np.uint32)
    wrong = (numbers.max(axis=-1) != 1) | (sums != 1)
    if wrong.any():
        sample = first + int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))
        raise InputError(
            f"The {where} is not one-hot: sample {sample} has a pixel in which not exactly one "
            f"channel is 1 and all others 0, {_ADVICE}"
        )
    return np.asarray(numbers.argmax(axis=-1), dtype=np.uint8)


def _single_channel(numbers: NDArray[np.uint8], form: MaskForm, where: str) -> NDArray[np.uint8]:
    flat = numbers.reshape(numbers.shape[:3])
    if form.scale == 255:
        if ((flat != 0) & (flat != 255)).any():
            raise InputError(f"The {where} holds values other than 0 and 255, {_ADVICE}")
        return np.asarray(flat == 255, dtype=np.uint8)
    if flat.size and int(flat.max()) >= form.classes:
        raise InputError(
            f"The {where} holds the value {int(flat.max())}, which is no class, {_ADVICE}"
        )
    return flat
