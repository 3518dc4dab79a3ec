"""Reading from a model's declared shapes how images go in and masks come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpulab.errors import InputError
from gpulab.models.check import GraphFacts, Port

Layout = Literal["first", "last"]
LAYOUTS = ("auto", "first", "last")
# uint8 is fed where the images hold whole numbers from 0 to 255.
INPUT_DTYPES = ("float32", "float16", "float64", "uint8")


@dataclass(frozen=True)
class ImagePort:
    """The image input of a model.

    Attributes:
        name: Name of the input.
        dtype: Its element type.
        layout: Whether channels come `first` (NCHW) or `last` (NHWC).
        batch: Fixed number of images, None where free.
        channels: Fixed number of channels, None where free.
        height: Fixed height in pixels, None where free.
        width: Fixed width in pixels, None where free.
    """

    name: str
    dtype: str
    layout: Layout
    batch: int | None
    channels: int | None
    height: int | None
    width: int | None

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width, where the model takes images of one size alone."""
        if self.height is None or self.width is None:
            return None
        return self.height, self.width

    def shape(self, batch: int, height: int, width: int, channels: int) -> tuple[int, ...]:
        """Return the shape of a tensor to feed."""
        if self.layout == "first":
            return (batch, channels, height, width)
        return (batch, height, width, channels)


def image_port(facts: GraphFacts, label: str, layout: str = "auto") -> ImagePort:
    """Find the model's image input and the order of its axes.

    Args:
        facts: What the model declares.
        label: What the user calls it.
        layout: `first`, `last`, or `auto` to tell it from the metadata and the shape.

    Raises:
        InputError: The model does not take one image, or the order cannot be told.
    """
    if len(facts.inputs) != 1:
        named = ", ".join(repr(port.name[:40]) for port in facts.inputs[:5]) or "none"
        raise InputError(
            f"The model {label!r} has {len(facts.inputs)} inputs ({named}), a mask model takes "
            f"one image"
        )
    port = facts.inputs[0]
    if port.dtype not in INPUT_DTYPES:
        raise InputError(
            f"The model {label!r} takes values of the type {port.dtype}, a mask model takes images "
            f"as float32 (or {', '.join(INPUT_DTYPES[1:])})"
        )
    if port.shape is None or len(port.shape) != 4:
        rank = "no declared" if port.shape is None else f"{len(port.shape)}"
        raise InputError(
            f"The model {label!r} takes an input with {rank} axes, a mask model takes images with "
            f"four: batch, channels, height and width"
        )
    order = _layout(facts, port.shape, label, layout)
    batch, second, third, fourth = port.shape
    channels, height, width = (
        (second, third, fourth) if order == "first" else (fourth, second, third)
    )
    return ImagePort(port.name, port.dtype, order, batch, channels, height, width)


def _layout(facts: GraphFacts, shape: tuple[int | None, ...], label: str, wanted: str) -> Layout:
    if wanted == "first":
        return "first"
    if wanted == "last" or facts.metadata is not None:
        return "last"
    first, last = shape[1], shape[3]
    # Of two fixed lengths the shorter one counts channels; of one, it is that one.
    if first is not None and (last is None or first < last):
        return "first"
    if last is not None and (first is None or last < first):
        return "last"
    raise InputError(
        f"The model {label!r} does not tell whether the channels come first or last, choose the "
        f"order of its axes in the parameters"
    )


def refuse_non_masks(facts: GraphFacts, label: str) -> None:
    """Refuse a model whose declared outputs cannot hold a mask.

    Raises:
        InputError: No output has (or may have) four axes.
    """
    ranks = [None if port.shape is None else len(port.shape) for port in facts.outputs]
    if any(rank is None or rank == 4 for rank in ranks):
        return
    raise InputError(no_mask(label, max(rank for rank in ranks if rank is not None)))


def no_mask(label: str, rank: int) -> str:
    """Say in words why an output of `rank` axes is no mask."""
    if rank <= 2:
        return (
            f"The model {label!r} is not a mask model: it gives one answer an image, as a "
            f"classifier does, and not one a pixel"
        )
    return (
        f"The model {label!r} is not a mask model: its output has {rank} axes, a mask has four "
        f"(batch, channels, height and width)"
    )


def mask_outputs(facts: GraphFacts) -> list[Port]:
    """Return the outputs that may be masks, in their order."""
    return [port for port in facts.outputs if port.shape is None or len(port.shape) == 4]
