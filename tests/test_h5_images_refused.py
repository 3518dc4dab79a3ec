"""Volumes, archives and damaged files that the readers of images must refuse."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading_images import ROOT, read_all, refused, written

from gpulab.errors import InputError
from gpulab.h5.images import Planes, SourceFile, open_planes
from gpulab.h5.images import planes as planes_module
from gpulab.testing import bad_images
from gpulab.testing import images as made
from gpulab.testing.files import TEST_FILES

BAD = {
    "animated.png": "animated",
    "bomb.png": "more than the 40 million",
    "truncated/1.png": "truncated or damaged",
    "nan.nii1.gz": "NaN or infinite values in slice 2",
    "four_dimensions.nii1.gz": "4 dimensions",
    "liar.nii1": "declares 14.9 GiB",
    "two_series.zip": "2 DICOM series",
    "climbing.zip": "leads out of it",
    "link.zip": "a link or a device",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files(name):
    refused(ROOT / "bad" / name, BAD[name])


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """Behind a header of a small volume come gigabytes of zeros: only what is declared is read."""
    small = nibabel.Nifti1Image(np.zeros((4, 3, 2), np.uint8), np.eye(4)).to_bytes()
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(small)
        for _ in range(64):
            stream.write(bytes(1 << 20))
    assert read_all(path).shape == (2, 3, 4, 1)
    refused(written(tmp_path, gzip.compress(b"x" * 1000)), "no NIfTI")


def test_a_nifti_of_colours_is_refused(tmp_path):
    colours = np.zeros((4, 3, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = written(tmp_path, nibabel.Nifti1Image(colours, np.eye(4)).to_bytes())
    refused(path, "holds colours")


def test_a_nifti_with_a_flat_or_infinite_affine_is_refused(tmp_path):
    flat = nibabel.Nifti1Image(np.zeros((4, 3, 2), np.uint8), np.diag([1.0, 1.0, 1.0, 1.0]))
    flat.header["srow_z"] = 0
    flat.header["sform_code"], flat.header["qform_code"] = 2, 0
    raw = bytearray(flat.to_bytes())
    raw[280 + 32 : 280 + 48] = bytes(16)  # srow_z
    refused(written(tmp_path, bytes(raw)), "orientation matrix without volume")


def dicom_zip(tmp_path: Path, change) -> Path:
    import pydicom

    volume, _ = made.hounsfield_volume()
    files = {}
    for index in range(made.SLICES):
        data = pydicom.dcmread(io.BytesIO(made.dicom_bytes(volume, index)))
        change(data, index)
        target = io.BytesIO()
        data.save_as(target)
        files[f"{index}.dcm"] = target.getvalue()
    path = tmp_path / "series.zip"
    made.write_zip(path, files)
    return path


def test_dicom_series_that_are_no_volume(tmp_path):
    def drop_position(data, index):
        if index == 1:
            del data.ImagePositionPatient

    def same_place(data, index):
        data.ImagePositionPatient = [0, 0, 0]

    def tilted(data, index):
        if index == 2:
            data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    def frames(data, index):
        data.NumberOfFrames = 2

    def colour(data, index):
        data.SamplesPerPixel = 3

    def other_size(data, index):
        data.Rows = 48 - index % 2 * 8

    def short(data, index):
        data.PixelData = data.PixelData[:100]

    cases = (
        (drop_position, "without ImagePositionPatient"),
        (same_place, "several DICOM slices at one place"),
        (tilted, "differing orientation"),
        (frames, "several frames"),
        (colour, "colour pictures"),
        (other_size, "48 x 40 and of 40 x 40"),
        (short, "cannot be read"),
    )
    for change, match in cases:
        refused(dicom_zip(tmp_path, change), match)


def test_dicom_compression_that_is_not_there_is_named(tmp_path):
    def claim(data, index):
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
        from pydicom.encaps import encapsulate

        data.PixelData = encapsulate([b"\xff\xd8" + bytes(10)])
        data["PixelData"].VR = "OB"

    refused(dicom_zip(tmp_path, claim), "JPEG-LS")


def test_zip_limits(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    made.write_zip(path, {"a.txt": b"x"})
    refused(path, "without a DICOM picture")
    monkeypatch.setattr("gpulab.h5.images.archives.MAX_ENTRIES", 3)
    refused(ROOT / "images/series.zip", "zip of 5 files")
    monkeypatch.setattr("gpulab.h5.images.archives.MAX_ENTRIES", 300)
    monkeypatch.setattr("gpulab.h5.images.archives.MAX_ENTRY_BYTES", 1000)
    refused(ROOT / "images/series.zip", "unpacks to")
    monkeypatch.setattr("gpulab.h5.images.archives.MAX_ENTRY_BYTES", 10**9)
    monkeypatch.setattr(planes_module, "MAX_UNPACKED_BYTES", 2000)
    refused(ROOT / "images/series.zip", "unpacks to")


def test_zip_with_a_password_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    made.write_zip(path, {"a.dcm": b"x" * 50})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(raw))
    assert zipfile.ZipFile(path).infolist()[0].flag_bits & 1
    refused(path, "password")


FUZZED = [
    "images/1.png",
    "images/4.jpg",
    "images/stack.tiff",
    "images/first.nii1",
    "images/fourth.nii2.gz",
    "images/series.zip",
]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), name=st.sampled_from(FUZZED))
def test_damaged_files_give_one_sentence_or_pixels(tmp_path, data, name):
    raw = bytearray((ROOT / name).read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    for _ in range(data.draw(st.integers(0, 6))):
        if raw:
            # Headers matter most: half of the changes hit the first 400 bytes.
            limit = data.draw(st.sampled_from([min(400, len(raw)), len(raw)]))
            raw[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path, bytes(raw))
    try:
        with open_planes(SourceFile(name, path)) as planes:
            assert isinstance(planes, Planes)
            for index in range(min(planes.count, 3)):
                planes.read(index)
    except InputError as error:
        assert str(error)


def test_the_test_files_are_all_made_by_programs_and_small():
    """Bytes are not compared: compression libraries differ from machine to machine."""
    assert made.SLICES and bad_images  # both have registered their files
    registered = {name for name in TEST_FILES if name.startswith("build/")}
    there = {f"build/{path.relative_to(ROOT)}" for path in ROOT.rglob("*") if path.is_file()}
    assert there == registered
    assert sum((ROOT.parent / name).stat().st_size for name in there) < 200_000
