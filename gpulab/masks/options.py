"""What the user chose for a prediction, read from the tool's JSON parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.errors import InputError
from gpulab.h5.images import SourceFile
from gpulab.masks.sources import FileSource, ImageSource, open_part_source
from gpulab.masks.windows import Fit
from gpulab.models.session import Activation

MAX_MODELS = 32
MAX_THRESHOLDS = 19
ADAPT = True  # where the parameters say nothing: the default of the form
FLIPS: dict[str, bool | None] = {"auto": None, "true": True, "false": False}


@dataclass(frozen=True)
class ModelFile:
    """A model as Galaxy knows it.

    Attributes:
        label: Its name in the history, different from that of every other model.
        path: Where it lies.
    """

    label: str
    path: Path


@dataclass(frozen=True)
class Drawing:
    """What the figures show.

    Attributes:
        rows: Rows of the figure where they are chosen at random.
        samples: Names or numbers of samples, separated by commas; empty to choose at random.
        overlays: Pictures on the contact sheet.
        seed: Seed of the random choice.
        image_title: What the images are.
    """

    rows: int = 5
    samples: str = ""
    overlays: int = 12
    seed: int = 42
    image_title: str = "CT image"


@dataclass(frozen=True)
class PredictOptions:
    """What the user chose.

    Attributes:
        models: The models.
        images: The conditional that says where images and true masks are.
        thresholds: Thresholds for every model; empty for each model's own.
        adapt: Whether each model's own threshold is adapted to each image.
        fit: How images are fitted to a model's size.
        batch: Windows that go through a model at once.
        flips: Whether the mean is taken with the prediction of the mirrored image; None leaves it
            to each model.
        mean: Whether the mean of all models is added.
        layout: Order of the models' axes.
        activation: What the models' outputs hold.
        drawing: What the figures show.
        outputs: Outputs on request.
        probabilities: `no`, `float16` or `float32`.
    """

    models: tuple[ModelFile, ...]
    images: dict[str, Any]
    thresholds: tuple[float, ...]
    adapt: bool
    fit: Fit
    batch: int
    flips: bool | None
    mean: bool
    layout: str
    activation: Activation
    drawing: Drawing
    outputs: frozenset[str]
    probabilities: str

    @property
    def several(self) -> bool:
        """Whether there is more than one model."""
        return len(self.models) > 1

    @property
    def adapts(self) -> bool:
        """Whether a model's own threshold is adapted to each image, where the model says how."""
        return self.adapt and not self.thresholds

    @property
    def averages(self) -> bool:
        """Whether a mean is added: one model has none."""
        return self.mean and self.several

    def open_images(self) -> AbstractContextManager[ImageSource]:
        """Open the images.

        Raises:
            InputError: They, or their masks, cannot be used.
        """
        truth = self.images["truth"]
        known = truth["known"] == "yes"
        if self.images["kind"] == "h5":
            path = Path(self.images["image_file"]["source_path"])
            masks = str(truth["masks_name"]) if known else None
            return open_part_source(path, str(self.images["images_name"]), masks)
        files = _files(self.images["image_files"], "image")
        return nullcontext(
            FileSource(files, _files(truth["mask_files"], "mask") if known else None)
        )


def options_of(params: dict[str, Any]) -> PredictOptions:
    """Read the parameters; inputs are objects with `element_identifier` and `source_path`.

    Raises:
        InputError: No model, too many, or thresholds that are none.
    """
    fitting, reading = params["fitting"], params["reading"]
    prediction = params.get("prediction", {})
    return PredictOptions(
        models=_models(params["models"]),
        images=params["images"],
        thresholds=parse_thresholds(params.get("thresholds") or ""),
        adapt=bool(params.get("adapt", ADAPT)),
        fit=Fit(fitting["mode"], int(fitting["tile"]), float(fitting["overlap"])),
        batch=int(fitting["batch"]),
        flips=FLIPS[str(prediction.get("flips", "auto")).lower()],
        mean=bool(prediction.get("mean", False)),
        layout=reading["layout"],
        activation=reading["activation"],
        drawing=Drawing(
            rows=int(params["drawing"]["rows"]),
            samples=params["drawing"].get("samples") or "",
            overlays=int(params["drawing"]["overlays"]),
            seed=int(params["drawing"]["seed"]),
            image_title=params["drawing"].get("image_title") or "Image",
        ),
        outputs=frozenset(params.get("outputs") or ()),
        probabilities=params["probabilities"],
    )


def _models(items: Sequence[dict[str, Any]]) -> tuple[ModelFile, ...]:
    if not 1 <= len(items) <= MAX_MODELS:
        raise InputError(f"{len(items)} models were given, give 1 to {MAX_MODELS}")
    labels = unique([_label(item["element_identifier"]) for item in items])
    return tuple(
        ModelFile(label, Path(item["source_path"]))
        for label, item in zip(labels, items, strict=True)
    )


def _identifier(value: str | Sequence[str]) -> str:
    """Return a name; elements of collections come as a list with a name for each level."""
    return value if isinstance(value, str) else "_".join(value)


def _label(value: str | Sequence[str]) -> str:
    printable = "".join(c if c.isprintable() else " " for c in _identifier(value))
    return " ".join(re.sub(r"\.onnx$", "", printable, flags=re.IGNORECASE).split())[:100] or "model"


def _files(items: Sequence[dict[str, Any]], role: str) -> list[SourceFile]:
    return [
        SourceFile(_identifier(item["element_identifier"]), Path(item["source_path"]), role)
        for item in items
    ]


def unique(names: Sequence[str]) -> list[str]:
    """Return the names, with a number behind every one that came before."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(candidate)
        result.append(candidate)
    return result


def safe_names(names: Sequence[str]) -> list[str]:
    """Return different names that can be used for files and HDF5 datasets, in the same order."""
    simple = [
        re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:100] or "unnamed" for name in names
    ]
    return [name.replace(" (", "_").replace(")", "") for name in unique(simple)]


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read a list such as `0.1, 0.3`; empty text gives none.

    Raises:
        InputError: A part is no number between 0 and 1, or there are too many.
    """
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    values = []
    for part in parts:
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 0.0 < value < 1.0:
            raise InputError(
                f"The threshold {part[:40]!r} is no number between 0 and 1, write for example "
                f"0.1, 0.3"
            )
        values.append(value)
    if len(values) > MAX_THRESHOLDS:
        raise InputError(f"{len(values)} thresholds were given, give at most {MAX_THRESHOLDS}")
    return tuple(dict.fromkeys(values))


def choose_rows(names: Sequence[str], drawing: Drawing) -> list[int]:
    """Choose the samples of the figure: those that were asked for, or random ones, none twice.

    Args:
        names: Names of all samples.
        drawing: What the user chose.

    Returns:
        Numbers of samples from 0.

    Raises:
        InputError: There is no such sample.
    """
    wanted = [part.strip() for part in re.split(r"[,\n]", drawing.samples) if part.strip()]
    if not wanted:
        count = min(drawing.rows, len(names))
        random = np.random.default_rng(drawing.seed)
        return sorted(int(n) for n in random.choice(len(names), size=count, replace=False))
    return list(dict.fromkeys(_number(name, names) for name in wanted))


def _number(wanted: str, names: Sequence[str]) -> int:
    if wanted in names:
        return list(names).index(wanted)
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(names):
        return int(wanted)
    examples = ", ".join(names[:3])
    raise InputError(
        f"There is no sample {wanted[:60]!r} to draw, give names such as {examples[:150]}, or "
        f"numbers from 0 to {len(names) - 1}"
    )


def choose_overlays(count: int, rows: Sequence[int], drawing: Drawing) -> list[int]:
    """Choose the pictures of the contact sheet: those of the figure, and random others."""
    random = np.random.default_rng([drawing.seed, 1])
    others = [int(n) for n in random.permutation(count) if n not in set(rows)]
    return sorted([*rows, *others][: drawing.overlays])
