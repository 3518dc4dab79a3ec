"""Readers of pictures, PNG, JPEG and TIFF: every kind gives its values, or one sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from reading_images import ROOT, read_all, refused, written

from gpulab.errors import InputError

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
