"""The job of h5_dataset_split: one HDF5 file in; training, validation and test files out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpulab import __version__
from gpulab.errors import InputError
from gpulab.h5.limits import readable, require_disk
from gpulab.h5.part import Part, open_part
from gpulab.h5.split_assign import assign
from gpulab.h5.split_copy import PartCopy, Progress, copy_samples, shared_images
from gpulab.h5.split_report import draw_preview, summary_line, write_summary
from gpulab.h5.write import PartWriter
from gpulab.jobs import OutputFolder

TOOL = "h5_dataset_split"
NAMES = ("train", "valid", "test")
INPUT = "data set"
_SUM_TOLERANCE = 0.0101  # three times 0.33 is meant as thirds


@dataclass(frozen=True)
class Plan:
    """One output file: from which source, and which of its samples."""

    name: str
    source: Part
    samples: int
    attributes: dict[str, str | int | float]


def split_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Split an HDF5 data set into training, validation and test data."""
    path, seed, how = Path(params["dataset"]), int(params["seed"]), params["split"]
    with ExitStack() as stack:
        if how["mode"] == "by_name":
            sources = [stack.enter_context(part) for part in _named_parts(path, how)]
            _check_alike(sources)
            plans = _plans_by_name(sources, how, seed)
            routes = [np.zeros(source.n, dtype=np.int64) for source in sources]
        else:
            source = stack.enter_context(_whole(path, how))
            shares = _shares(how)
            route = _route(source, how, shares, seed)
            sources, routes = [source], [route]
            plans = _plans_by_fraction(source, how, shares, route, seed)
        _run(sources, routes, plans, outputs, seed)


def _run(
    sources: Sequence[Part],
    routes: Sequence[np.ndarray[Any, np.dtype[np.int64]]],
    plans: Sequence[Plan],
    outputs: OutputFolder,
    seed: int,
) -> None:
    _check_disk(sources, outputs.path)
    classes = max(plan.source.classes or 2 for plan in plans)
    digest_dtype = np.result_type(*(source.images.dtype for source in sources))
    progress = Progress(sum(plan.samples for plan in plans))
    with ExitStack() as stack:
        copies = []
        for plan in plans:
            target = outputs.file(f"{plan.name}.h5")
            writer = stack.enter_context(_writer(target, plan, classes))
            copies.append(PartCopy(plan.name, target, writer, digest_dtype))
        remaining = list(copies)
        for source, route in zip(sources, routes, strict=True):
            count = int(route.max()) + 1
            copy_samples(source, remaining[:count], route, progress)
            del remaining[:count]

    shared = shared_images(copies)
    shapes = [plan.source.images.shape[1:] for plan in plans]
    write_summary(outputs.file("summary.tabular"), copies, shapes, classes, shared)
    forms = [plan.source.mask_form for plan in plans if plan.source.mask_form]
    draw_preview(outputs.file("preview.png"), copies, forms, seed)
    for copy in copies:
        print(summary_line(copy, sum(plan.samples for plan in plans)))
    for one in shared:
        print(f"Warning: identical images in {one}; scores on such images are too good")


def _named_parts(path: Path, how: dict[str, Any]) -> Iterator[Any]:
    """Yield the three pairs of a combined file, still to be entered."""
    names = [how[f"{part}_{kind}"] for part in NAMES for kind in ("images", "masks")]
    for index, name in enumerate(names):
        if not name or not name.strip():
            raise InputError("The name of a sub-dataset is empty, give all six names")
        if name in names[:index]:
            raise InputError(
                f"The sub-dataset {readable(name)} is given twice, give six different names"
            )
    for part in NAMES:
        yield _renamed(path, part, how[f"{part}_images"], how[f"{part}_masks"])


@contextmanager
def _renamed(path: Path, part: str, images: str, masks: str) -> Iterator[Part]:
    """Open one pair and name its samples after the part, for the file has no names of its own."""
    with open_part(
        path, images=images, masks=masks, sample_ids=None, groups=None, label=INPUT
    ) as opened:
        opened.sample_ids[:] = [f"{part}_{index:05d}" for index in range(1, opened.n + 1)]
        yield opened


@contextmanager
def _whole(path: Path, how: dict[str, Any]) -> Iterator[Part]:
    """Open the data set that is to be split by fraction."""
    each: dict[str, Any] = {
        key: (how.get(key) or "").strip() for key in ("sample_ids", "groups", "weights")
    }
    with open_part(path, images=how["images"], masks=how["masks"], label=INPUT, **each) as opened:
        yield opened


def _shares(how: dict[str, Any]) -> dict[str, float]:
    """Return the share of each part that gets one, adding up to 1."""
    wanted = {name: float(how[f"{name}_fraction"]) for name in NAMES}
    listed = ", ".join(f"{share:g}" for share in wanted.values())
    if not all(0 <= share <= 1 for share in wanted.values()):
        raise InputError(f"The fractions {listed} must lie between 0 and 1")
    total = sum(wanted.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise InputError(
            f"The fractions {listed} add up to {total:g}, choose fractions that add up to 1"
        )
    if wanted["train"] == 0 or wanted["valid"] == 0:
        raise InputError("The fractions for training and validation must be above 0")
    return {name: share / total for name, share in wanted.items() if share > 0}


def _route(
    source: Part, how: dict[str, Any], shares: dict[str, float], seed: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the number of the part of each sample."""
    foreground = source.foreground_fraction() if how["stratify"] else np.zeros(source.n)
    if source.groups is None:
        print(
            "The data set names no groups: samples of one patient may lie in several parts, which "
            "makes scores look better than they are"
        )
    return assign(list(shares.values()), seed, foreground, source.groups)


def _attributes(part: str, mode: str, seed: int, images: str, masks: str) -> dict[str, Any]:
    return {
        "made_by": TOOL,
        "version": __version__,
        "part": part,
        "split": mode,
        "seed": seed,
        "source_images": images,
        "source_masks": masks,
    }


def _plans_by_name(sources: Sequence[Part], how: dict[str, Any], seed: int) -> list[Plan]:
    plans = []
    for name, source in zip(NAMES, sources, strict=True):
        images, masks = how[f"{name}_images"], how[f"{name}_masks"]
        attributes = _attributes(name, "by_name", seed, images, masks)
        plans.append(Plan(name, source, source.n, attributes))
    return plans


def _plans_by_fraction(
    source: Part,
    how: dict[str, Any],
    shares: dict[str, float],
    route: np.ndarray[Any, np.dtype[np.int64]],
    seed: int,
) -> list[Plan]:
    sizes = np.bincount(route, minlength=len(shares))
    plans = []
    for (name, share), size in zip(shares.items(), sizes, strict=True):
        attributes = _attributes(name, "by_fraction", seed, how["images"], how["masks"])
        attributes |= {"fraction": share, "stratified": int(bool(how["stratify"]))}
        plans.append(Plan(name, source, int(size), attributes))
    return plans


def _writer(path: Path, plan: Plan, classes: int) -> PartWriter:
    assert plan.source.masks is not None
    return PartWriter(
        path,
        image_shape=plan.source.images.shape[1:],
        image_dtype=plan.source.images.dtype,
        mask_shape=plan.source.masks.shape[1:],
        mask_dtype=plan.source.masks.dtype,
        samples=plan.samples,
        classes=classes,
        attributes=plan.attributes,
    )


def _check_alike(sources: Sequence[Part]) -> None:
    """Refuse parts on which no single model could be trained and tested."""
    first = sources[0]
    for name, source in zip(NAMES[1:], sources[1:], strict=True):
        if source.channels != first.channels:
            raise InputError(
                f"The {name} images have {source.channels} channels and the train images "
                f"{first.channels}, give images of one kind"
            )
        if (first.one_hot or source.one_hot) and source.classes != first.classes:
            raise InputError(
                f"The {name} masks have {source.classes} classes and the train masks "
                f"{first.classes}, give masks of one kind"
            )


def _check_disk(sources: Sequence[Part], folder: Path) -> None:
    """Refuse to start a copy that would fill the disk."""
    needed = 0
    for source in sources:
        for dataset in (source.images, source.masks):
            if dataset is not None:
                logical = dataset.size * dataset.dtype.itemsize
                # Compressed anew at a fast level it may take somewhat more than before.
                needed += min(logical, 2 * dataset.id.get_storage_size())
    require_disk(needed, folder, "parts")
