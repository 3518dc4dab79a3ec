"""NIfTI-1 and NIfTI-2 volumes, plain or gzipped, read with nibabel one plane at a time."""

from __future__ import annotations

import gzip
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.images.planes import Planes, SourceFile, check_unpacked, reading
from gpulab.h5.images.volumes import Axis, volume_planes
from gpulab.h5.limits import in_words

_BLOCK = 1 << 20
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_MAX_OFFSET = 64 << 20  # header extensions lie before the voxels


@contextmanager
def open_nifti(file: SourceFile, axis: Axis = "axial", *, gzipped: bool) -> Iterator[Planes]:
    """Open a NIfTI file.

    A gzipped one is unpacked to a temporary file, of which no more is written than the header
    declares. Scale factors of the header are applied (float32 then).

    Raises:
        InputError: Damaged, 4-D, colour or complex, or with sizes that the file does not hold.
    """
    with tempfile.TemporaryFile() if gzipped else file.path.open("rb") as stream:
        if gzipped:
            with reading(file, "gzipped NIfTI"), gzip.open(file.path, "rb") as packed:
                _unpack(file, cast("BinaryIO", packed), stream)
        with reading(file, "NIfTI"):
            planes = _planes(file, axis, stream)
        yield planes


def is_nifti(head: bytes) -> bool:
    """Tell whether the first bytes of a file are a NIfTI header with the voxels behind it."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _unpack(file: SourceFile, packed: BinaryIO, stream: Any) -> None:
    head = packed.read(_HEADER_BYTES)
    if not is_nifti(head):
        raise InputError(f"The {file} is a gzipped file but no NIfTI volume, give a NIfTI file")
    stream.write(head)
    stream.seek(0)
    _, _, wanted = _check(file, _header(head, stream))
    stream.seek(0, 2)
    written = len(head)
    while written < wanted and (block := packed.read(min(_BLOCK, wanted - written))):
        stream.write(block)
        written += len(block)


def _header(head: bytes, stream: Any) -> Any:
    import nibabel

    kind = nibabel.Nifti2Header if head[4:8] == b"n+2\0" else nibabel.Nifti1Header
    header = kind.single_magic  # both kinds of files end differently: only single files are read
    if header not in (b"n+1", b"n+2"):
        raise ValueError("not a single NIfTI file")
    return kind(stream.read(kind.sizeof_hdr), check=False)


def _check(file: SourceFile, header: Any) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Return three-dimensional shape, stored type and the bytes that the file must hold."""
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) > 3 and math.prod(shape[3:]) != 1:
        raise InputError(
            f"The {file} has {len(shape)} dimensions ({' x '.join(map(str, shape))}), split it "
            f"into three-dimensional volumes"
        )
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(
            f"The {file} has the size {' x '.join(map(str, shape)) or 'zero'}, give a volume"
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"The {file} holds {'colours' if dtype.fields else f'values of the type {dtype}'}, "
            f"save one real number for each voxel"
        )
    offset = int(header.get_data_offset())
    if not 0 <= offset <= _MAX_OFFSET:
        raise InputError(f"The {file} has a header that points nowhere, save it again")
    cube = (shape[0], shape[1], shape[2] if len(shape) > 2 else 1)
    wanted = offset + math.prod(cube) * dtype.itemsize
    check_unpacked(file, wanted)
    return cube, dtype, wanted


def _planes(file: SourceFile, axis: Axis, stream: Any) -> Planes:
    import nibabel

    stream.seek(0)
    head = stream.read(_HEADER_BYTES)
    stream.seek(0)
    cube, dtype, wanted = _check(file, _header(head, stream))
    there = stream.seek(0, 2)
    if there < wanted:
        raise InputError(
            f"The {file} declares {in_words(wanted)} but holds {in_words(there)}, it is truncated, "
            f"upload it again"
        )
    stream.seek(0)
    kind = nibabel.Nifti2Image if head[4:8] == b"n+2\0" else nibabel.Nifti1Image
    image = kind.from_file_map(kind.make_file_map({"image": stream}))
    voxels = image.dataobj
    scaled = (voxels.slope, voxels.inter) != (1.0, 0.0)
    result = np.dtype(np.float32) if scaled else dtype.newbyteorder("=")
    rest = (0,) * (len(image.shape) - 3)

    def cut(stored: int, index: int) -> NDArray[Any]:
        where: list[Any] = [slice(None)] * 3
        where[stored] = index
        if len(image.shape) == 2:
            return np.asarray(np.asarray(voxels[...], dtype=result)[..., None][tuple(where)])
        return np.asarray(voxels[(*where, *rest)], dtype=result)

    code = int(image.header["qform_code"]) or int(image.header["sform_code"])
    return volume_planes(
        file,
        "NIfTI",
        axis,
        np.asarray(image.affine, dtype=np.float64),
        cube,
        result,
        cut,
        located=bool(code),
    )
