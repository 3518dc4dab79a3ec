"""What h5_dataset_build can be told, checked before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gpulab.errors import InputError
from gpulab.h5.build_classes import ClassRule, parse_classes
from gpulab.h5.build_names import NamePattern
from gpulab.h5.images.volumes import Axis

Colour = Literal["average", "luminance", "keep"]
MaskForm = Literal["one_hot", "numbers"]
MaskResize = Literal["nearest", "majority"]
SliceChoice = Literal["all", "foreground", "nth"]
GroupChoice = Literal["auto", "none", "pattern", "table"]

MAX_SIDE = 4096

# Centre and width in Hounsfield units, as on common CT workstations.
WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (40.0, 400.0),
    "abdomen": (50.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}


@dataclass(frozen=True)
class Window:
    """A Hounsfield window that becomes 0 to 255.

    Attributes:
        centre: Value that becomes 127.5.
        width: Values within `centre ± width / 2` become 0 to 255, others are clipped.
        whole: True for uint8, False for float32.
    """

    centre: float
    width: float
    whole: bool = False

    def __post_init__(self) -> None:
        if not (abs(self.centre) <= 1e6 and 0 < self.width <= 1e6):
            raise InputError(
                f"The Hounsfield window with centre {self.centre:g} and width {self.width:g} "
                f"cannot be used, the width must be above 0"
            )


@dataclass(frozen=True)
class BuildOptions:
    """How a dataset is built.

    Attributes:
        height: Rows of every image; 0 keeps the size that all images share.
        width: Columns of every image; 0 together with `height`.
        colour: How colour images become grey, or `keep` for three channels.
        window: Hounsfield window, None to keep values as they are.
        axis: Direction across the slices of volumes.
        slices: Which slices of a file are taken.
        step: For `nth`: take slices 0, step, 2 · step …
        classes: How mask values become classes.
        mask_form: One channel for each class, or class numbers.
        mask_resize: How class numbers are resized.
        match: Takes the common key out of an image's name; None: the name without its ending.
        match_mask: The same for masks.
        groups: Where groups come from.
        group_pattern: For `pattern`: takes the group out of an image's name.
    """

    height: int = 128
    width: int = 128
    colour: Colour = "average"
    window: Window | None = None
    axis: Axis = "axial"
    slices: SliceChoice = "all"
    step: int = 1
    classes: ClassRule = field(default_factory=ClassRule)
    mask_form: MaskForm = "one_hot"
    mask_resize: MaskResize = "nearest"
    match: NamePattern | None = None
    match_mask: NamePattern | None = None
    groups: GroupChoice = "auto"
    group_pattern: NamePattern | None = None

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not 0 <= side <= MAX_SIDE:
                raise InputError(f"Height and width must be between 1 and {MAX_SIDE}, or both 0")
        if (self.height == 0) != (self.width == 0):
            raise InputError(
                "Only one of height and width is 0, give both, or 0 for both to keep the size"
            )
        if self.step < 1:
            raise InputError("The step between slices must be at least 1")

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width to resize to; None to keep."""
        return (self.height, self.width) if self.height else None


def options_of(params: dict[str, Any]) -> BuildOptions:
    """Read the options from the parameters of the tool.

    Raises:
        InputError: A parameter is missing or has no such value.
    """
    try:
        return _options(params)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The parameters are not complete: {error}") from error


def _options(params: dict[str, Any]) -> BuildOptions:
    masks, slices, groups = params["with_masks"], params["slices"], params["groups"]
    given = masks["choice"] == "yes"
    matching = masks["matching"] if given else {"mode": "name"}
    by_pattern = matching["mode"] == "pattern"
    match = NamePattern(matching["pattern"], "names of images") if by_pattern else None
    mask_text = (matching.get("mask_pattern") or "") if by_pattern else ""
    return BuildOptions(
        height=int(params["size"]["height"]),
        width=int(params["size"]["width"]),
        colour=_one_of(params["colour"], get_args(Colour)),
        window=_window(params["intensity"]),
        axis=_one_of(slices["axis"], get_args(Axis)),
        slices=_one_of(slices["choice"]["mode"], get_args(SliceChoice)),
        step=int(slices["choice"].get("step") or 1),
        classes=_classes(masks["values"]) if given else ClassRule(),
        mask_form=_one_of(masks["form"], get_args(MaskForm)) if given else "one_hot",
        mask_resize=_one_of(masks["resize"], get_args(MaskResize)) if given else "nearest",
        match=match,
        match_mask=NamePattern(mask_text, "names of masks") if mask_text else match,
        groups=_one_of(groups["mode"], get_args(GroupChoice)),
        group_pattern=(
            NamePattern(groups["pattern"], "groups") if groups["mode"] == "pattern" else None
        ),
    )


def _one_of(value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
    return value


def _window(intensity: dict[str, Any]) -> Window | None:
    if intensity["mode"] == "keep":
        return None
    chosen, whole = intensity["window"], intensity["kind"] == "uint8"
    if chosen["preset"] == "custom":
        return Window(float(chosen["centre"]), float(chosen["width"]), whole)
    return Window(*WINDOWS[chosen["preset"]], whole)


def _classes(values: dict[str, Any]) -> ClassRule:
    if values["mode"] == "list":
        return ClassRule("list", mapping=parse_classes(values["list"]))
    if values["mode"] == "threshold":
        return ClassRule("threshold", threshold=float(values["threshold"]))
    return ClassRule()
