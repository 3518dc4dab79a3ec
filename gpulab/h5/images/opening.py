"""Opening an image file by what it holds; names and declared types are not believed."""

from __future__ import annotations

import stat
from contextlib import AbstractContextManager

from gpulab.errors import InputError
from gpulab.h5.images.dicom import open_dicom_zip
from gpulab.h5.images.nifti import is_nifti, open_nifti
from gpulab.h5.images.pictures import open_picture
from gpulab.h5.images.planes import Planes, SourceFile
from gpulab.h5.images.tiffs import open_tiff
from gpulab.h5.images.volumes import Axis

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def open_planes(file: SourceFile, axis: Axis = "axial") -> AbstractContextManager[Planes]:
    """Open a PNG, JPEG, TIFF, NIfTI or zipped DICOM file as planes.

    Args:
        file: The file.
        axis: Direction across the slices of a volume; pictures and pages are taken as they are.

    Returns:
        A context manager of the file's `Planes`.

    Raises:
        InputError: The file is missing, empty, of another format, or cannot be read.
    """
    try:
        status = file.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"The {file} is not a regular file")
        with file.path.open("rb") as stream:
            head = stream.read(348)
    except OSError as error:
        raise InputError(f"The {file} cannot be opened: {error.strerror}") from error
    if not head:
        raise InputError(f"The {file} is an empty file, upload it again")
    if head.startswith(_PICTURES):
        return open_picture(file)
    if head.startswith(_TIFF):
        return open_tiff(file)
    if head.startswith(b"\x1f\x8b"):
        return open_nifti(file, axis, gzipped=True)
    if is_nifti(head):
        return open_nifti(file, axis, gzipped=False)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return open_dicom_zip(file, axis)
    raise InputError(
        f"The {file} is no PNG, JPEG, TIFF or NIfTI file and no zip of a DICOM series"
        f"{_hint(head)}, convert it"
    )


def _hint(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return " but a single DICOM file (pack the series as a zip)"
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        return " but the header of a NIfTI pair (save it as a single .nii file)"
    if head.startswith(b"GIF8"):
        return " but a GIF"
    return ""
