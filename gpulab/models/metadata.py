"""What a model of ours says about itself: written by training, read by prediction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.errors import InputError

if TYPE_CHECKING:
    import onnx

PRODUCER = "gpulab"
FORMAT_VERSION = 1
MAX_CLASSES = 255  # masks are written as uint8
MAX_TEXT = 200
MAX_SIDE = 1_000_000


@dataclass(frozen=True)
class ModelMetadata:
    """The contract between training and prediction, kept in the ONNX file's `metadata_props`.

    Attributes:
        class_names: Names of the output channels in their order, the background first.
        threshold: Probability above which a pixel is foreground, chosen on the validation data.
        sure_dice: Expected Dice below which an image's threshold falls (`gpulab.models.adapt`),
            chosen on the validation data; 0 for one threshold for all images.
        mirrored: Whether it learnt from images mirrored left to right as well, so that it may
            predict both and the mean be taken.
        spatial_multiple: Height and width of an input must be multiples of this many pixels.
        image_size: Height and width of the training images in pixels; None where unknown.
        grey_values: Mean and standard deviation of the training images' values; None where unknown,
            or where the model scales each image by itself.
        training_data_sha256: SHA-256 of the training file, 64 lower-case hexadecimal digits.
        seed: Seed of the training run.
        loss: Name of the loss as a reader should see it, for example `BCE + TV`.
        versions: Versions of the libraries that made the model.
    """

    class_names: tuple[str, ...] = ("background", "foreground")
    threshold: float = 0.5
    sure_dice: float = 0.0
    mirrored: bool = False
    spatial_multiple: int = 1
    image_size: tuple[int, int] | None = None
    grey_values: tuple[float, float] | None = None
    training_data_sha256: str = ""
    seed: int = 0
    loss: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = _first_problem(self)
        if problem:
            raise InputError(f"The model's metadata are wrong: {problem}")


def _first_problem(metadata: ModelMetadata) -> str | None:
    names = metadata.class_names
    sides = metadata.image_size or (1, 1)
    mean, deviation = metadata.grey_values or (0.0, 0.0)
    digest = metadata.training_data_sha256
    checks = [
        (2 <= len(names) <= MAX_CLASSES, f"class_names must hold 2 to {MAX_CLASSES} names"),
        (all(isinstance(n, str) and 0 < len(n) <= MAX_TEXT for n in names), "a class has no name"),
        (len(set(names)) == len(names), "two classes have the same name"),
        (
            math.isfinite(metadata.threshold) and 0.0 < metadata.threshold < 1.0,
            f"threshold must lie between 0 and 1, not be {metadata.threshold}",
        ),
        (
            0.0 <= metadata.sure_dice <= 1.0,
            f"sure_dice must lie between 0 and 1, not be {metadata.sure_dice}",
        ),
        (
            1 <= metadata.spatial_multiple <= 1024,
            f"spatial_multiple must lie between 1 and 1024, not be {metadata.spatial_multiple}",
        ),
        (
            all(1 <= side <= MAX_SIDE for side in sides),
            f"image_size must lie between 1 and {MAX_SIDE}, not be {sides}",
        ),
        (
            math.isfinite(mean) and math.isfinite(deviation) and deviation >= 0,
            f"grey_values must be a mean and a standard deviation, not {mean} and {deviation}",
        ),
        (
            digest == "" or (len(digest) == 64 and set(digest) <= set("0123456789abcdef")),
            "training_data_sha256 must hold 64 hexadecimal digits",
        ),
        (len(metadata.loss) <= MAX_TEXT, "the name of the loss is too long"),
    ]
    return next((problem for good, problem in checks if not good), None)


def to_props(metadata: ModelMetadata) -> dict[str, str]:
    """Return the metadata as the strings that an ONNX file can hold."""
    values: dict[str, Any] = asdict(metadata)
    values["class_names"] = list(metadata.class_names)
    props = {"producer": PRODUCER, "format_version": str(FORMAT_VERSION)}
    for name, value in values.items():
        props[name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return props


def from_props(props: Mapping[str, str], label: str = "model") -> ModelMetadata | None:
    """Read the metadata from an ONNX file's properties.

    Args:
        props: `metadata_props` as a mapping.
        label: How messages call the model.

    Returns:
        The metadata, or None when the model was not made by this package.

    Raises:
        InputError: The model says that it is ours, but what it says makes no sense.
    """
    if props.get("producer") != PRODUCER:
        return None
    version = props.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise InputError(
            f"The {label} has metadata of format {version[:20]!r}, but this version of the tool "
            f"reads format {FORMAT_VERSION}: use a tool and a model of the same release"
        )
    try:
        return ModelMetadata(
            class_names=tuple(_list_of_texts(props["class_names"])),
            threshold=float(_number(props["threshold"])),
            sure_dice=float(_number(props.get("sure_dice", "0"))),
            mirrored=_yes_or_no(props.get("mirrored", "false")),
            spatial_multiple=_whole_number(props["spatial_multiple"]),
            image_size=_image_size(props.get("image_size", "null")),
            grey_values=_grey_values(props.get("grey_values", "null")),
            training_data_sha256=props.get("training_data_sha256", ""),
            seed=_whole_number(props.get("seed", "0")),
            loss=props.get("loss", ""),
            versions=_texts_by_name(props.get("versions", "{}")),
        )
    except (KeyError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise InputError(
            f"The {label} says that it was made by {PRODUCER}, but its metadata cannot be read "
            f"({type(error).__name__}: {str(error)[:100]}): train or export it again"
        ) from error
    except InputError as error:
        raise InputError(f"The {label} cannot be used: {error}") from error


def _number(text: str) -> float:
    return _as_number(json.loads(text))


def _whole_number(text: str) -> int:
    return _as_whole_number(json.loads(text))


def _as_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{json.dumps(value)[:40]!r} is not a number")
    return value


def _as_whole_number(value: Any) -> int:
    if not isinstance(_as_number(value), int):
        raise ValueError(f"{json.dumps(value)[:40]!r} is not a whole number")
    return int(value)


def _image_size(text: str) -> tuple[int, int] | None:
    pair = _pair(text)
    return pair and (_as_whole_number(pair[0]), _as_whole_number(pair[1]))


def _grey_values(text: str) -> tuple[float, float] | None:
    pair = _pair(text)
    return pair and (float(_as_number(pair[0])), float(_as_number(pair[1])))


def _pair(text: str) -> tuple[Any, Any] | None:
    value = json.loads(text)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{text[:40]!r} is not two numbers")
    return value[0], value[1]


def _yes_or_no(text: str) -> bool:
    value = json.loads(text)
    if not isinstance(value, bool):
        raise ValueError(f"{text[:40]!r} is neither true nor false")
    return value


def _list_of_texts(text: str) -> list[str]:
    value = json.loads(text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("class_names is not a list of names")
    return value


def _texts_by_name(text: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("versions is not a table of texts")
    return value


def read_metadata(model: onnx.ModelProto, label: str = "model") -> ModelMetadata | None:
    """Read what a loaded model says about itself; None for a model from elsewhere.

    Raises:
        InputError: The model says that it is ours, but what it says makes no sense.
    """
    return from_props({entry.key: entry.value for entry in model.metadata_props}, label)


def set_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> None:
    """Put the metadata into a loaded model, in place of any it had."""
    import onnx

    onnx.helper.set_model_props(model, to_props(metadata))


def write_metadata(onnx_path: Path, metadata: ModelMetadata) -> None:
    """Put the metadata into an ONNX file, in place of any it had.

    Args:
        onnx_path: The model, changed in place (by a rename, so never half written).
        metadata: What the model shall say about itself.
    """
    import onnx

    model = onnx.load(str(onnx_path), load_external_data=False)
    set_metadata(model, metadata)
    unfinished = onnx_path.with_name(f".{onnx_path.name}.unfinished")
    try:
        onnx.save(model, str(unfinished))
        unfinished.replace(onnx_path)
    finally:
        unfinished.unlink(missing_ok=True)
