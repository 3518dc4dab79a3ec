"""Readers of image files: known answers, every format, and hostile files."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gpulab.errors import InputError
from gpulab.h5.images import Planes, SourceFile, open_planes
from gpulab.h5.images import planes as planes_module
from gpulab.testing import bad_images
from gpulab.testing import images as made
from gpulab.testing.files import TEST_FILES

ROOT = Path(__file__).parents[1] / "test-data" / "build"


def read_all(path: Path, axis: str = "axial", role: str = "image") -> np.ndarray:
    with open_planes(SourceFile(path.name, path, role), axis) as planes:
        result = np.stack([planes.read(index) for index in range(planes.count)])
        assert result.dtype == planes.dtype
        assert result.shape == (planes.count, *planes.size, planes.channels)
    return result


def written(tmp_path: Path, data: bytes, name: str = "dataset_1.dat") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refused(path: Path, match: str, role: str = "image") -> None:
    with pytest.raises(InputError, match=match) as caught:
        read_all(path, role=role)
    assert "\n" not in str(caught.value)


# --- orientation and rescaling: known answers ---------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_nifti_gives_the_same_slices_however_it_is_stored(tmp_path, version, flipped, zipped):
    volume, _ = made.hounsfield_volume()
    data = made.nifti_bytes(volume, version=version, flipped=flipped, zipped=zipped)
    result = read_all(written(tmp_path, data))
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result[..., 0], volume)


def test_dicom_is_sorted_rescaled_and_equal_to_the_nifti():
    volume, _ = made.hounsfield_volume()
    result = read_all(ROOT / "images/series.zip")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[..., 0], volume)


def test_dicom_and_nifti_lie_at_the_same_place():
    with (
        open_planes(SourceFile("a", ROOT / "images/series.zip")) as dicom,
        open_planes(SourceFile("b", ROOT / "masks/second.nii1.gz", "mask")) as nifti,
    ):
        np.testing.assert_allclose(dicom.affine, nifti.affine, atol=1e-4)


def test_dicom_with_reversed_normal_and_instance_numbers_ignored(tmp_path):
    """Columns to the right and rows to the back: the normal points to the feet."""
    import pydicom

    volume, _ = made.hounsfield_volume()
    files = {}
    for index in range(made.SLICES):
        data = pydicom.dcmread(io.BytesIO(made.dicom_bytes(volume, index)))
        data.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
        shift = made.SPACING[1] * (volume.shape[2] - 1)
        data.ImagePositionPatient[0] = made.START[0] + shift
        data.PixelData = data.pixel_array[:, ::-1].tobytes()
        target = io.BytesIO()
        data.save_as(target)
        files[f"{index}"] = target.getvalue()
    path = tmp_path / "series.zip"
    made.write_zip(path, files)
    np.testing.assert_array_equal(read_all(path)[..., 0], volume)


ORIENTATIONS = st.tuples(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(orientation=ORIENTATIONS, axis=st.sampled_from(["axial", "coronal", "sagittal"]))
def test_planes_agree_with_nibabel_as_closest_canonical(tmp_path, orientation, axis):
    order, signs = orientation
    affine = np.zeros((4, 4))
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        affine[row, column] = sign * (1.0 + column)
    affine[:3, 3], affine[3, 3] = (4, -7, 9), 1
    stored = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)
    image = nibabel.Nifti1Image(stored, affine)
    canonical = nibabel.as_closest_canonical(image)
    voxels = np.asarray(canonical.dataobj)
    expected = {
        "axial": voxels[::-1, ::-1].transpose(2, 1, 0),
        "coronal": voxels[::-1, :, ::-1].transpose(1, 2, 0),
        "sagittal": voxels[:, ::-1, ::-1].transpose(0, 2, 1),
    }[axis]
    path = written(tmp_path, image.to_bytes())
    np.testing.assert_array_equal(read_all(path, axis)[..., 0], expected)
    with open_planes(SourceFile("x", path), axis) as planes:
        np.testing.assert_allclose(planes.affine, canonical.affine, atol=1e-5)


def test_nifti_scaling_of_the_header_is_applied(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(4, 3, 2), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    path = written(tmp_path, image.to_bytes())
    result = read_all(path)
    assert result.dtype == np.float32
    assert (result.min(), result.max()) == (-1024.0, 2 * 23 - 1024.0)


def test_two_dimensional_nifti_and_trailing_ones(tmp_path):
    flat = nibabel.Nifti1Image(np.arange(12, dtype=np.uint8).reshape(4, 3), np.eye(4))
    assert read_all(written(tmp_path, flat.to_bytes())).shape == (1, 3, 4, 1)
    four = nibabel.Nifti1Image(np.zeros((4, 3, 2, 1), dtype=np.uint8), np.eye(4))
    assert read_all(written(tmp_path, four.to_bytes())).shape == (2, 3, 4, 1)


# --- pictures -----------------------------------------------------------------------------------


def png(array: np.ndarray, mode: str | None = None, **options: object) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(array)
    if mode:
        image = image.convert(mode)
    image.save(target, format=options.pop("format", "PNG"), **options)
    return target.getvalue()


def test_png_8_16_and_1_bit(tmp_path):
    grey = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)
    np.testing.assert_array_equal(read_all(written(tmp_path, png(grey)))[0, ..., 0], grey)
    wide = grey.astype(np.uint16) * 200
    np.testing.assert_array_equal(read_all(written(tmp_path, png(wide)))[0, ..., 0], wide)
    two = read_all(written(tmp_path, png(grey > 100)))[0, ..., 0]
    np.testing.assert_array_equal(two, np.where(grey > 100, 255, 0))


def test_colour_and_opaque_alpha(tmp_path):
    colour = np.random.default_rng(1).integers(0, 255, (6, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_all(written(tmp_path, png(colour)))[0], colour)
    opaque = np.dstack([colour, np.full((6, 5), 255, np.uint8)])
    np.testing.assert_array_equal(read_all(written(tmp_path, png(opaque)))[0], colour)
    opaque[0, 0, 3] = 10
    refused(written(tmp_path, png(opaque)), "transparent")


def test_palettes_give_greys_colours_or_numbers(tmp_path):
    numbers = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    image = Image.fromarray(numbers)
    image = image.convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    target = io.BytesIO()
    image.save(target, format="PNG")
    path = written(tmp_path, target.getvalue())
    np.testing.assert_array_equal(read_all(path, role="mask")[0, ..., 0], numbers)
    assert read_all(path)[0, 0, 1].tolist() == [255, 0, 0]
    image.putpalette([255, 255, 255, 0, 0, 0, 9, 9, 9])  # the first colour is white
    target = io.BytesIO()
    image.save(target, format="PNG")
    path = written(tmp_path, target.getvalue())
    assert read_all(path, role="mask")[0, ..., 0].tolist() == [[255, 0], [9, 0]]


def test_a_turned_jpeg_comes_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = np.zeros((16, 32), np.uint8)
    path = written(tmp_path, png(grey, format="JPEG", exif=exif))
    assert read_all(path).shape == (1, 32, 16, 1)


def test_what_pictures_are_refused(tmp_path):
    grey = np.zeros((8, 8), np.uint8)
    refused(written(tmp_path, png(grey, "CMYK", format="JPEG")), "colour model CMYK")
    refused(written(tmp_path, png(grey, format="GIF")), "but a GIF")
    refused(written(tmp_path, b""), "empty file")
    refused(written(tmp_path, b"hello" * 100), "no PNG, JPEG, TIFF or NIfTI")
    refused(tmp_path / "nowhere", "cannot be opened")
    refused(tmp_path, "not a regular file")
    header = png(np.zeros((4, 4, 3), np.uint8))
    sixteen = header[:24] + bytes([16]) + header[25:]
    with pytest.raises(InputError):  # Pillow may already object to the checksum
        read_all(written(tmp_path, sixteen))


# --- TIFF ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
def test_tiff_types_and_compressions(tmp_path, dtype, compression):
    stack = np.arange(3 * 6 * 5).reshape(3, 6, 5).astype(dtype)
    path = tmp_path / "a"
    tifffile.imwrite(path, stack, photometric="minisblack", compression=compression)
    np.testing.assert_array_equal(read_all(path)[..., 0], stack)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiff_byte_orders_and_bigtiff(tmp_path, byteorder, bigtiff):
    stack = np.arange(2 * 6 * 5, dtype=np.uint16).reshape(2, 6, 5)
    path = tmp_path / "a"
    tifffile.imwrite(path, stack, byteorder=byteorder, bigtiff=bigtiff, photometric="minisblack")
    np.testing.assert_array_equal(read_all(path)[..., 0], stack)


def test_tiff_of_imagej_and_ome(tmp_path):
    stack = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)
    path = tmp_path / "a"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_all(path)[..., 0], stack)
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_all(path)[..., 0], stack)


@pytest.mark.parametrize("options", [{"imagej": True}, {}, {"byteorder": ">"}])
def test_an_uncompressed_tiff_that_is_cut_off_is_refused(tmp_path, options):
    path = tmp_path / "a"
    stack = np.arange(4 * 32 * 32, dtype=np.uint16).reshape(4, 32, 32)
    options = {"metadata": {"axes": "ZYX"}, **options}
    tifffile.imwrite(path, stack, photometric="minisblack", **options)
    np.testing.assert_array_equal(read_all(path)[..., 0], stack)
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, "truncated or damaged")


def test_tiff_colours_and_planes(tmp_path):
    colour = np.arange(2 * 6 * 5 * 3, dtype=np.uint8).reshape(2, 6, 5, 3)
    path = tmp_path / "a"
    tifffile.imwrite(path, colour, photometric="rgb")
    np.testing.assert_array_equal(read_all(path), colour)
    planar = np.moveaxis(colour, -1, 1)
    tifffile.imwrite(path, planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_all(path), colour)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits", "tiff_deflate", "group4"])
def test_tiff_written_by_pillow(tmp_path, compression):
    grey = np.zeros((24, 16), np.uint8)
    grey[4:9] = 255
    path = tmp_path / "a"
    image = Image.fromarray(grey).convert("1" if compression == "group4" else "L")
    image.save(path, format="TIFF", compression=compression, save_all=True, append_images=[image])
    result = read_all(path)
    assert result.shape == (2, 24, 16, 1)
    assert np.abs(result[1, ..., 0].astype(int) - grey).max() < 5


def test_tiff_white_is_zero(tmp_path):
    grey = np.arange(30, dtype=np.uint8).reshape(6, 5)
    path = tmp_path / "a"
    tifffile.imwrite(path, 255 - grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_all(path)[0, ..., 0], grey)


def test_what_tiffs_are_refused(tmp_path):
    path = tmp_path / "a"
    tifffile.imwrite(path, np.zeros((2, 3, 6, 5), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    refused(path, "dimensions")
    tifffile.imwrite(path, np.zeros((6, 5), np.complex64))
    refused(path, "values of the type complex64")
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((6, 5), np.uint8))
        writer.write(np.zeros((7, 5), np.uint8))
    refused(path, "2 series")
    path.write_bytes((ROOT / "images/stack.tiff").read_bytes()[:2000])
    refused(path, "truncated or damaged")


def test_an_ome_tiff_cannot_open_another_file(tmp_path):
    secret = np.full((6, 5), 77, np.uint8)
    tifffile.imwrite(tmp_path / "secret.ome.tif", secret, ome=True)
    uid = "urn:uuid:00000000-0000-0000-0000-000000000001"
    other = f'<UUID FileName="secret.ome.tif">{uid}</UUID>'
    xml = f"""<?xml version="1.0"?>
    <OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
    <Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8"
    SizeX="5" SizeY="6" SizeZ="2" SizeC="1" SizeT="1">
    <Channel ID="Channel:0:0" SamplesPerPixel="1"/>
    <TiffData FirstZ="0" IFD="0" PlaneCount="1"/>
    <TiffData FirstZ="1" IFD="0" PlaneCount="1">{other}</TiffData>
    </Pixels></Image></OME>"""
    path = tmp_path / "upload.ome.tif"
    tifffile.imwrite(path, np.zeros((6, 5), np.uint8), description=xml, metadata=None)
    assert 77 in tifffile.imread(path)  # what would happen without care
    alone = read_all(path)
    assert alone.shape == (1, 6, 5, 1)
    assert not alone.any()


# --- volumes and archives that must be refused --------------------------------------------------


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
