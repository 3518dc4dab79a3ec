"""What the Galaxy tool h5_dataset_build does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.h5.build import Sample, build
from gpulab.h5.build_each import each_sample
from gpulab.h5.build_names import match, read_table
from gpulab.h5.build_options import BuildOptions, options_of
from gpulab.h5.build_preview import draw_preview
from gpulab.h5.build_survey import Survey, survey
from gpulab.h5.images import SourceFile
from gpulab.h5.limits import in_words, readable
from gpulab.jobs import OutputFolder

COLUMNS = (
    "sample_id",
    "group",
    "source",
    "original_height",
    "original_width",
    "slice",
    "foreground_fraction",
    "minimum",
    "maximum",
)


def build_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Build a dataset, its table of samples and its preview.

    Args:
        params: Parameters of the tool with `files`, because Galaxy's parameter file leaves out what
            elements of collections are called: lists `images` and `masks` of objects with
            `identifier` and `path`, and `group_table` and `weight_table`, paths or None.
        outputs: Gets `dataset.h5`, `samples.tabular` and `preview.png`.

    Raises:
        InputError: Something the user gave cannot be used.
    """
    options = options_of(params)
    images = _files(params["files"], "images", "image")
    masks = _files(params["files"], "masks", "mask")
    with_masks = params["with_masks"]["choice"] == "yes"
    if options.slices == "foreground" and not with_masks:
        raise InputError("Slices with foreground can only be chosen with masks, give masks")
    pairs = match(images, masks if with_masks else None, options.match, options.match_mask)
    print(f"{len(pairs)} images{' with masks' if with_masks else ''}, looking at all of them")
    found = survey(pairs, options)
    groups, weights = (_table(params["files"], what) for what in ("group", "weight"))
    if options.groups == "table" and groups is None:
        raise InputError("Groups shall come from a table but none was given, give one")
    each = each_sample(found, options, groups, weights)
    dataset = outputs.file("dataset.h5")
    samples = build(dataset, found, options, each)
    write_table(outputs.file("samples.tabular"), samples)
    draw_preview(dataset, outputs.file("preview.png"))
    _tell(dataset, found, options, samples)


def _files(files: dict[str, Any], key: str, role: str) -> list[SourceFile]:
    return [
        SourceFile(str(item["identifier"]), Path(item["path"]), role)
        for item in files.get(key) or []
    ]


def _table(files: dict[str, Any], what: str) -> dict[str, str] | None:
    path = files.get(f"{what}_table")
    return read_table(Path(path), f"{what}s") if path else None


def write_table(path: Path, samples: Sequence[Sample]) -> None:
    """Write the table of samples; what is not known stays empty."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("\t".join(COLUMNS) + "\n")
        for item in samples:
            cells = (
                item.sample_id,
                item.group or "",
                readable(item.source, 255),
                str(item.height),
                str(item.width),
                str(item.number),
                "" if item.foreground is None else f"{item.foreground:.6f}",
                f"{item.minimum:.6g}",
                f"{item.maximum:.6g}",
            )
            stream.write("\t".join(cells) + "\n")


def _tell(dataset: Path, found: Survey, options: BuildOptions, samples: Sequence[Sample]) -> None:
    """Sum up on standard output."""
    slices = sum(seen.count for seen in found.seen)
    print(
        f"images: {len(samples)} of {slices} slices, {found.height} x {found.width} x "
        f"{found.channels}, {found.dtype}, values {min(s.minimum for s in samples):g} to "
        f"{max(s.maximum for s in samples):g}"
    )
    if found.classes is not None:
        shares = [s.foreground for s in samples if s.foreground is not None]
        print(
            f"masks: {found.classes.count} classes ({found.classes.description}), "
            f"{options.mask_form.replace('_', '-')}, foreground {sum(shares) / len(shares):.2%} of "
            f"the pixels, {sum(share == 0 for share in shares)} samples without any"
        )
    groups = {s.group for s in samples if s.group is not None}
    print(f"groups: {len(groups) or 'none'}")
    weights = [s.weight for s in samples if s.weight is not None]
    if weights:
        print(f"weights: {min(weights):g} to {max(weights):g}")
    print(f"dataset.h5: {in_words(dataset.stat().st_size)}")
    sys.stdout.flush()
