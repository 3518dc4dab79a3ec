"""Image files of every format that h5_dataset_build reads, all tiny."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.testing.files import test_file
from gpulab.testing.phantoms import phantom_slices

SEED = 21
SIZE = 48
SLICES = 4
SPACING = (1.5, 1.25, 5.0)  # millimetres between rows, columns, slices
START = (-30.0, -36.0, 100.0)  # millimetres, left-posterior-superior, as DICOM counts
_EPOCH = (1980, 1, 1, 0, 0, 0)


def slices() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return grey slices and labels, both uint8 (n, 48, 40), the first six with lesions."""
    images, labels = phantom_slices(6, SIZE, seed=SEED, healthy_fraction=0.0)
    return images[:, :, 4:-4, 0], labels[:, :, 4:-4]


def hounsfield_volume() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return voxels in Hounsfield units and labels (slices, rows, columns); slice 0 is healthy."""
    images, labels = slices()
    labels[0] = 0
    return images[:SLICES].astype(np.int16) * 8 - 1000, labels[:SLICES]


def nifti_bytes(
    volume: NDArray[Any], *, version: int = 1, flipped: bool = False, zipped: bool = False
) -> bytes:
    """Return a volume (slices, rows, columns) as NIfTI.

    Args:
        volume: Slices from the feet, rows to the back, columns to the patient's left.
        version: 1 or 2.
        flipped: Store the voxels in that order, with an affine that says so; otherwise the other
            way round with a canonical affine. Both describe the same patient.
        zipped: Compress with gzip.
    """
    import nibabel

    stored = volume.transpose(2, 1, 0)
    rows, columns, depth = SPACING
    affine = np.diag([-columns, -rows, depth, 1.0])
    affine[:3, 3] = (-START[0], -START[1], START[2])
    if not flipped:
        last = (*(n - 1 for n in stored.shape[:2]), 0, 1)
        start = affine @ np.array(last, dtype=float)
        stored = stored[::-1, ::-1]
        affine = np.diag([columns, rows, depth, 1.0])
        affine[:3, 3] = start[:3]
    kind = nibabel.Nifti2Image if version == 2 else nibabel.Nifti1Image
    data = kind(np.ascontiguousarray(stored), affine).to_bytes()
    return gzip.compress(data, mtime=0) if zipped else data


def dicom_bytes(
    volume: NDArray[np.int16], index: int, *, series: str = "1", title: str = "Phantom chest"
) -> bytes:
    """Return one slice of a volume in Hounsfield units as DICOM CT, stored with a rescale."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(index)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["series", series])
    data.SeriesDescription = title
    data.Modality = "CT"
    data.Rows, data.Columns = volume.shape[1:]
    data.PixelSpacing = [SPACING[0], SPACING[1]]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [START[0], START[1], START[2] + SPACING[2] * index]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleSlope, data.RescaleIntercept = 2, -1024
    data.PixelData = ((volume[index] + 1024) // 2).astype("<u2").tobytes()
    target = io.BytesIO()
    data.save_as(target, enforce_file_format=True)
    return target.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes], links: Sequence[str] = ()) -> None:
    """Write a zip whose bytes depend on its contents alone; `links` are symbolic links."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = stat.S_IFLNK | 0o777 if name in links else stat.S_IFREG | 0o644
            entry.external_attr = mode << 16
            archive.writestr(entry, content)


def series_files(series: str = "1") -> dict[str, bytes]:
    """Return the files of a DICOM series; their names are not in the order of the slices."""
    volume, _ = hounsfield_volume()
    return {
        f"series_{series}/IM{(index * 3) % SLICES:03d}": dicom_bytes(volume, index, series=series)
        for index in range(SLICES)
    }


def save_picture(path: Path, array: NDArray[Any], **options: Any) -> None:
    """Write grey or colour values as JPEG or, whatever the name, as PNG."""
    from PIL import Image

    Image.fromarray(array).save(path, format="JPEG" if path.suffix == ".jpg" else "PNG", **options)


def _register() -> None:
    """Register the files that differ in a number alone."""

    def png(image_name: str, mask_name: str, index: int) -> None:
        @test_file(image_name)
        def image(path: Path) -> None:
            save_picture(path, slices()[0][index], optimize=True)

        @test_file(mask_name)
        def mask(path: Path) -> None:
            save_picture(path, slices()[1][index] * np.uint8(255), optimize=True)

    def volume(name: str, version: int, zipped: bool) -> None:
        @test_file(f"build/images/{name}.nii{version}{'.gz' if zipped else ''}")
        def image(path: Path) -> None:
            data = hounsfield_volume()[0]
            path.write_bytes(nifti_bytes(data, version=version, zipped=zipped, flipped=zipped))

    def labels(name: str, version: int) -> None:
        @test_file(f"build/masks/{name}.nii{version}.gz")
        def mask(path: Path) -> None:
            path.write_bytes(nifti_bytes(hounsfield_volume()[1], version=version, zipped=True))

    for index in (1, 2, 3):
        png(f"build/images/{index}.png", f"build/masks/{index}.png", index)
    for index in (1, 2):
        png(f"build/named/image_{index}.png", f"build/named/mask_{index}.png", index)
    volume("first", 1, zipped=False)
    volume("second", 1, zipped=True)
    volume("third", 2, zipped=False)
    volume("fourth", 2, zipped=True)
    labels("first", 2)
    labels("second", 1)
    labels("series", 1)


_register()


@test_file("build/images/4.jpg")
def image_4(path: Path) -> None:
    """Write a JPEG slice."""
    save_picture(path, slices()[0][4], quality=90)


@test_file("build/masks/4.jpg")
def mask_4(path: Path) -> None:
    """Write a mask as JPEG, as it should not be done: values near 0 and 255 come about."""
    save_picture(path, slices()[1][4] * np.uint8(255), quality=60)


@test_file("build/images/5.tiff")
def image_5(path: Path) -> None:
    """Write a 16-bit TIFF slice in unsigned units of 1024 plus Hounsfield."""
    _write_tiff(path, slices()[0][5].astype(np.uint16) * 8 + 24)


@test_file("build/masks/5.tiff")
def mask_5(path: Path) -> None:
    """Write a mask of class numbers as TIFF."""
    _write_tiff(path, slices()[1][5])


@test_file("build/images/stack.tiff")
def stack(path: Path) -> None:
    """Write a 16-bit multi-page TIFF."""
    _write_tiff(path, (hounsfield_volume()[0] + 1024).astype(np.uint16))


@test_file("build/masks/stack.tiff")
def stack_mask(path: Path) -> None:
    """Write a multi-page TIFF of masks; the first page is empty."""
    _write_tiff(path, hounsfield_volume()[1])


def _write_tiff(path: Path, array: NDArray[Any]) -> None:
    import tifffile

    tifffile.imwrite(path, array, photometric="minisblack", compression="zlib", software=False)


@test_file("build/images/series.zip")
def series(path: Path) -> None:
    """Write a DICOM series with a file that is none beside it."""
    write_zip(path, {**series_files(), "README.txt": b"A phantom, no patient.\n"})


@test_file("build/groups.tabular")
def groups(path: Path) -> None:
    """Write a table of patients for the PNG slices."""
    path.write_text("sample\tpatient\n1\tA\n2\tA\n3.png\tB\n", encoding="utf-8")


@test_file("build/weights.tabular")
def weights(path: Path) -> None:
    """Write a table of how much the PNG slices count."""
    path.write_text("sample\tweight\n1\t1\n2\t1\n3.png\t2.5\n", encoding="utf-8")
