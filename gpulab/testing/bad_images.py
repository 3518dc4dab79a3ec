"""Image files that must be refused: damaged, hostile, or of a kind that is not read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from gpulab.testing.files import test_file
from gpulab.testing.images import (
    hounsfield_volume,
    nifti_bytes,
    save_picture,
    series_files,
    slices,
    write_zip,
)


@test_file("build/bad/truncated/1.png")
def truncated(path: Path) -> None:
    """Write the first half of a PNG."""
    target = path.with_suffix(".whole")
    save_picture(target, slices()[0][1])
    data = target.read_bytes()
    target.unlink()
    path.write_bytes(data[: len(data) // 2])


@test_file("build/bad/colour/1.png")
def colour_mask(path: Path) -> None:
    """Write a mask with red lesions."""
    mask = np.zeros((*slices()[1][1].shape, 3), dtype=np.uint8)
    mask[..., 0] = slices()[1][1] * 255
    save_picture(path, mask, optimize=True)


@test_file("build/bad/small/1.png")
def small_mask(path: Path) -> None:
    """Write a mask that is smaller than its image."""
    save_picture(path, slices()[1][1][:40] * np.uint8(255), optimize=True)


@test_file("build/bad/empty/1.png")
def empty_mask(path: Path) -> None:
    """Write a mask without any foreground."""
    save_picture(path, slices()[1][1] * np.uint8(0), optimize=True)


@test_file("build/bad/animated.png")
def animated(path: Path) -> None:
    """Write an animated PNG."""
    from PIL import Image

    first, second = (Image.fromarray(array) for array in slices()[0][1:3])
    first.save(path, format="PNG", save_all=True, append_images=[second])


@test_file("build/bad/bomb.png")
def bomb(path: Path) -> None:
    """Write 64 million black pixels in a few kilobytes."""
    from PIL import Image

    Image.new("1", (8000, 8000)).save(path, format="PNG", optimize=True)


@test_file("build/bad/nan.nii1.gz")
def nan(path: Path) -> None:
    """Write a volume with NaN in its third slice."""
    volume = hounsfield_volume()[0].astype(np.float32)
    volume[2, 5, 5] = np.nan
    path.write_bytes(nifti_bytes(volume, zipped=True))


@test_file("build/bad/four_dimensions.nii1.gz")
def four_dimensions(path: Path) -> None:
    """Write a volume that changes with time."""
    import nibabel

    data = nibabel.Nifti1Image(np.zeros((8, 8, 3, 2), dtype=np.int16), np.eye(4)).to_bytes()
    path.write_bytes(gzip.compress(data, mtime=0))


@test_file("build/bad/liar.nii1")
def liar(path: Path) -> None:
    """Write a volume whose header declares 16 GB of voxels."""
    data = bytearray(nifti_bytes(hounsfield_volume()[0])[:2000])
    data[42:48] = np.array([2000, 2000, 2000], dtype="<i2").tobytes()
    path.write_bytes(bytes(data))


@test_file("build/bad/two_series.zip")
def two_series(path: Path) -> None:
    """Write two DICOM series in one zip."""
    first, second = series_files("1"), series_files("2")
    write_zip(path, dict([*list(first.items())[:2], *list(second.items())[:2]]))


@test_file("build/bad/climbing.zip")
def climbing(path: Path) -> None:
    """Write a zip with a path that leads out of it."""
    write_zip(path, {"../../escape.dcm": b"x"})


@test_file("build/bad/link.zip")
def link(path: Path) -> None:
    """Write a zip with a symbolic link."""
    write_zip(path, {"slice.dcm": b"/etc/passwd"}, links=["slice.dcm"])
