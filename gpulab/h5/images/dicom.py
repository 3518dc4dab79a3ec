"""A DICOM series in a zip file, read with pydicom into Hounsfield (or other rescaled) units."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.images.archives import entries
from gpulab.h5.images.planes import (
    Planes,
    SourceFile,
    check_count,
    check_plane,
    check_unpacked,
    reading,
)
from gpulab.h5.images.volumes import Axis, volume_planes
from gpulab.h5.limits import readable

_MAX_TILT = 1e-3  # difference of direction cosines within one series
_FEET = np.diag([-1.0, -1.0, 1.0])  # DICOM's left, posterior, superior to right, anterior, superior


@dataclass(frozen=True)
class _Slice:
    """What the header of one file says."""

    name: str
    series: str
    title: str
    rows: int
    columns: int
    position: NDArray[np.float64] | None
    directions: NDArray[np.float64]
    spacing: NDArray[np.float64]


@contextmanager
def open_dicom_zip(file: SourceFile, axis: Axis = "axial") -> Iterator[Planes]:
    """Open a zip with the files of one DICOM series.

    Slices are sorted by ImagePositionPatient along the normal of ImageOrientationPatient (PS3.3
    C.7.6.2.1.1); RescaleSlope and RescaleIntercept or a modality look-up table are applied (C.11.1)
    to float32, which gives Hounsfield units for CT. Voxels wait in a temporary file on disk.

    Raises:
        InputError: No zip, no DICOM in it, several series, slices that do not form a volume,
            several frames in a file, colour, or a compression that cannot be read.
    """
    with ExitStack() as stack:
        with reading(file, "zip"):
            archive = stack.enter_context(zipfile.ZipFile(file.path))
            listed = entries(file, archive)
        with reading(file, "zip of DICOM files"):
            slices = _sorted(file, _one_series(file, _headers(file, archive, listed)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        decoded: list[NDArray[np.float32]] = []

        def cut(stored: int, index: int) -> NDArray[Any]:
            if not decoded:
                decoded.append(_decode(file, archive, slices, folder))
            where: list[Any] = [slice(None)] * 3
            where[stored] = index
            return np.array(decoded[0].T[tuple(where)])  # stored axes: column, row, slice

        shape = (slices[0].columns, slices[0].rows, len(slices))
        located = slices[0].position is not None
        yield volume_planes(
            file, "DICOM", axis, _affine(slices), shape, np.dtype("f4"), cut, located=located
        )


def _headers(
    file: SourceFile, archive: zipfile.ZipFile, listed: list[zipfile.ZipInfo]
) -> list[_Slice]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    found, others = [], 0
    for entry in listed:
        with archive.open(entry) as stream:
            try:
                header = pydicom.dcmread(stream, stop_before_pixels=True)
            except InvalidDicomError:
                others += 1
                continue
            if "Rows" in header:
                found.append(_slice(file, entry.filename, header))
    if not found:
        raise InputError(
            f"The {file} is a zip of {len(listed)} files without a DICOM picture among them, give "
            f"the files of one DICOM series"
        )
    if others:
        print(f"{file}: {others} files in the zip are no DICOM and are left out")
    check_count(file, len(found))
    return found


def _slice(file: SourceFile, name: str, header: Any) -> _Slice:
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise InputError(
            f"The {file} holds several frames in one DICOM file ({readable(name, 60)}), convert it "
            f"to NIfTI"
        )
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InputError(
            f"The {file} holds colour pictures ({readable(name, 60)}), save them as PNG or TIFF"
        )
    position = header.get("ImagePositionPatient")
    return _Slice(
        name,
        str(header.get("SeriesInstanceUID", "")),
        str(header.get("SeriesDescription", "")),
        int(header.Rows),
        int(header.Columns),
        None if position is None else np.array([float(v) for v in position]).reshape(3),
        np.array(
            [float(v) for v in header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)]
        ).reshape(2, 3),
        np.array([float(v) for v in header.get("PixelSpacing") or (1, 1)]).reshape(2),
    )


def _one_series(file: SourceFile, found: list[_Slice]) -> list[_Slice]:
    series: dict[str, list[_Slice]] = {}
    for item in found:
        series.setdefault(item.series, []).append(item)
    if len(series) > 1:
        named = [
            f"{readable(uid, 70) or 'without UID'} ({len(items)} slices"
            f"{', ' + readable(items[0].title, 40) if items[0].title else ''})"
            for uid, items in list(series.items())[:5]
        ]
        raise InputError(
            f"The {file} holds {len(series)} DICOM series: {'; '.join(named)}"
            f"{' and more' if len(series) > 5 else ''}, pack each series in a zip of its own"
        )
    return found


def _sorted(file: SourceFile, found: list[_Slice]) -> list[_Slice]:
    """Sort slices along their common normal, from the negative to the positive side."""
    first = found[0]
    for item in found:
        if (item.rows, item.columns) != (first.rows, first.columns):
            raise InputError(
                f"The {file} holds DICOM slices of {first.rows} x {first.columns} and of "
                f"{item.rows} x {item.columns} pixels, pack slices of one size"
            )
        if np.abs(item.directions - first.directions).max() > _MAX_TILT:
            raise InputError(
                f"The {file} holds DICOM slices of differing orientation "
                f"({readable(item.name, 60)}), pack parallel slices"
            )
    check_plane(file, first.rows, first.columns)
    if len(found) == 1:
        return found
    without = [readable(item.name, 60) for item in found if item.position is None]
    if without:
        raise InputError(
            f"The {file} holds {len(without)} DICOM slices without ImagePositionPatient (first: "
            f"{without[0]}), so their order is unknown, convert the series to NIfTI"
        )
    along = np.array([_depth(item) for item in found])
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    if steps.min() < 1e-3:
        twin = found[int(order[int(steps.argmin())])]
        raise InputError(
            f"The {file} holds several DICOM slices at one place ({readable(twin.name, 60)}), pack "
            f"a series that covers the body once"
        )
    if steps.max() > 1.5 * np.median(steps):
        print(
            f"{file}: the distance between slices varies from {steps.min():g} to {steps.max():g} "
            f"mm, slices may be missing"
        )
    return [found[int(index)] for index in order]


def _depth(item: _Slice) -> float:
    normal = np.cross(item.directions[0], item.directions[1])
    return float(normal @ item.position) if item.position is not None else 0.0


def _affine(slices: list[_Slice]) -> NDArray[np.float64]:
    """Return the matrix from (column, row, slice) to millimetres in RAS+ (PS3.3 C.7.6.2.1.1)."""
    first, last = slices[0], slices[-1]
    start = np.zeros(3) if first.position is None else first.position
    step = np.cross(first.directions[0], first.directions[1])
    if len(slices) > 1 and last.position is not None:
        step = (last.position - start) / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3, 0] = first.directions[0] * first.spacing[1]
    affine[:3, 1] = first.directions[1] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = start
    affine[:3] = _FEET @ affine[:3]
    return affine


def _decode(
    file: SourceFile, archive: zipfile.ZipFile, slices: list[_Slice], folder: Path
) -> NDArray[np.float32]:
    """Write the rescaled voxels, (slices, rows, columns), to a memory-mapped file."""
    import pydicom
    from pydicom.pixels import apply_modality_lut

    shape = (len(slices), slices[0].rows, slices[0].columns)
    check_unpacked(file, int(np.prod(shape, dtype=np.int64)) * 4)
    voxels = np.lib.format.open_memmap(
        folder / "voxels.npy", mode="w+", dtype=np.float32, shape=shape
    )
    for index, item in enumerate(slices):
        data = pydicom.dcmread(io.BytesIO(archive.read(item.name)))
        if "PixelData" not in data:
            raise InputError(
                f"The {file} holds a DICOM file without pixels ({readable(item.name, 60)}), it may "
                f"be truncated, pack the series again"
            )
        try:
            stored = data.pixel_array
        except (NotImplementedError, RuntimeError) as error:
            syntax = data.file_meta.TransferSyntaxUID
            raise InputError(
                f"The {file} holds pixels compressed as {readable(syntax.name, 60)} "
                f"({readable(item.name, 60)}) that cannot be read, save the series uncompressed"
            ) from error
        if stored.shape != shape[1:]:
            raise InputError(
                f"The {file} holds a DICOM slice whose pixels are not of the size it declares "
                f"({readable(item.name, 60)}), pack the series again"
            )
        voxels[index] = apply_modality_lut(stored, data)
    return voxels
