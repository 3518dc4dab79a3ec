"""From mask values to class numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.images import SourceFile
from gpulab.h5.labels import MAX_CLASSES

MAX_AUTO_VALUES = 8
MAX_VALUE = 65_535
HALF = 127.5
# JPEG moves values; beyond this distance from 0 and 255 a pixel is no blurred edge any more.
_LOSSY_MARGIN, _LOSSY_SHARE = 64, 0.05


@dataclass(frozen=True)
class ClassRule:
    """How mask values become classes.

    Attributes:
        mode: `auto`: the values that occur, in order, 0 always being class 0; `list`: `mapping`;
            `threshold`: class 1 above `threshold`.
        mapping: For `list`: value to class number.
        threshold: For `threshold`.
    """

    mode: Literal["auto", "list", "threshold"] = "auto"
    mapping: dict[int, int] = field(default_factory=dict)
    threshold: float = HALF


@dataclass(frozen=True)
class Classes:
    """A rule with what was found in all masks: values can be translated with it.

    Attributes:
        values: Sorted mask values.
        numbers: Class number of each value.
        threshold: Set when class 1 is what lies above it; values and numbers are not used then.
        lossy_threshold: Used in place of `values` for masks from JPEG files.
    """

    values: tuple[int, ...]
    numbers: tuple[int, ...]
    threshold: float | None = None
    lossy_threshold: float | None = None

    @property
    def count(self) -> int:
        """Number of classes with the background."""
        return max(self.numbers) + 1

    @property
    def description(self) -> str:
        """Say the translation in words."""
        if self.threshold is not None:
            return f"above {self.threshold:g}: class 1"
        pairs = zip(self.values, self.numbers, strict=True)
        text = ", ".join(f"{value}: class {number}" for value, number in pairs)
        return text + (
            f" (JPEG masks: above {self.lossy_threshold:g}: class 1)"
            if self.lossy_threshold is not None
            else ""
        )

    def apply(self, mask: NDArray[Any], lossy: bool = False) -> NDArray[np.uint8]:
        """Return the class numbers, uint8, of a mask whose values were all seen before."""
        limit = self.lossy_threshold if lossy and self.threshold is None else self.threshold
        if limit is not None:
            return (mask > limit).astype(np.uint8)
        at = np.searchsorted(np.array(self.values), mask)
        return np.array(self.numbers, dtype=np.uint8)[at]


def parse_classes(text: str) -> dict[int, int]:
    """Read "0,1,2" (values in the order of their classes) or "0:0,255:1" (value:class).

    Raises:
        InputError: It is neither, a value occurs twice, or class numbers leave a gap.
    """
    items = [item.strip() for item in text.split(",")]
    if len(items) > 1000:
        raise InputError("The list of mask values is too long")
    if all(re.fullmatch(r"\d{1,5}", item) for item in items):
        pairs = [(int(item), number) for number, item in enumerate(items)]
    elif all(re.fullmatch(r"\d{1,5}\s*:\s*\d{1,2}", item) for item in items):
        pairs = [(int(value), int(number)) for value, number in (i.split(":") for i in items)]
    else:
        raise InputError(
            "The list of mask values is not understood, write the values in the order of their "
            "classes (0,1,2) or each value with its class (0:0,255:1)"
        )
    mapping = dict(pairs)
    numbers = set(mapping.values())
    if len(mapping) != len(pairs) or max(mapping) > MAX_VALUE:
        raise InputError(
            f"The list of mask values must hold every value once, none above {MAX_VALUE}"
        )
    if numbers != set(range(len(numbers))) or not 2 <= len(numbers) <= MAX_CLASSES:
        raise InputError(
            f"The classes in the list of mask values must be 0, 1, … without a gap, at least 2 and "
            f"at most {MAX_CLASSES}"
        )
    return mapping


class ValueSurvey:
    """Collects the values of all masks, so that every mask is translated in the same way."""

    def __init__(self, rule: ClassRule) -> None:
        self.rule = rule
        self.values: set[int] = set()
        self._lossy = False

    def add(self, file: SourceFile, mask: NDArray[Any], lossy: bool) -> None:
        """Look at one plane of a mask.

        Args:
            file: Where it comes from.
            mask: Values, any shape.
            lossy: True for JPEG.

        Raises:
            InputError: Values that can be no classes under the rule.
        """
        if self.rule.mode == "threshold":
            return
        if self.rule.mode == "auto" and lossy:
            self._add_lossy(file, mask)
            return
        found = np.unique(mask)
        if found.dtype.kind == "f" and (found != np.rint(found)).any():
            raise InputError(
                f"The {file} holds broken numbers such as {found[found != np.rint(found)][0]:g}, "
                f"which are no classes, choose a threshold for the mask values"
            )
        if found[0] < 0 or found[-1] > MAX_VALUE:
            raise InputError(
                f"The {file} holds values from {found[0]:g} to {found[-1]:g}, but classes lie "
                f"between 0 and {MAX_VALUE}, choose a threshold or other masks"
            )
        if self.rule.mode == "list":
            self._check_list(file, found)
            return
        self.values.update(int(value) for value in found[: MAX_AUTO_VALUES + 1])
        if len(self.values) > MAX_AUTO_VALUES:
            some = ", ".join(map(str, sorted(self.values)[:MAX_AUTO_VALUES]))
            raise InputError(
                f"The {file} brings the masks to more than {MAX_AUTO_VALUES} different values "
                f"({some}, …), choose a threshold or list the values of the classes"
            )

    def _add_lossy(self, file: SourceFile, mask: NDArray[Any]) -> None:
        between = (mask > _LOSSY_MARGIN) & (mask < 255 - _LOSSY_MARGIN)
        if between.mean() > _LOSSY_SHARE:
            raise InputError(
                f"The {file} is a JPEG with many values between black and white, so its classes "
                f"cannot be told apart, save masks as PNG or choose a threshold"
            )
        self._lossy = True
        self.values.update((0, 255) if (mask > HALF).any() else (0,))

    def _check_list(self, file: SourceFile, found: NDArray[Any]) -> None:
        unknown = [int(value) for value in found if int(value) not in self.rule.mapping]
        if unknown:
            shown = ", ".join(map(str, unknown[:MAX_AUTO_VALUES]))
            raise InputError(
                f"The {file} holds the values {shown}{', …' if len(unknown) > 8 else ''} that are "
                f"not in the list of mask values, add them"
            )

    def classes(self) -> Classes:
        """Return the translation for all masks that were added.

        Raises:
            InputError: Only background was found.
        """
        if self.rule.mode == "threshold":
            return Classes((0, 1), (0, 1), threshold=self.rule.threshold)
        if self.rule.mode == "list":
            values = tuple(sorted(self.rule.mapping))
            return Classes(values, tuple(self.rule.mapping[value] for value in values))
        values = tuple(sorted(self.values | {0}))
        if len(values) < 2:
            raise InputError(
                "All masks are empty: 0 is their only value, give masks with a foreground"
            )
        if self._lossy and len(values) > 2:
            shown = ", ".join(map(str, values))
            raise InputError(
                f"Some masks are JPEG files, which know black and white alone, but all masks "
                f"together hold the values {shown}, save all of them as PNG"
            )
        return Classes(
            values, tuple(range(len(values))), lossy_threshold=HALF if self._lossy else None
        )
