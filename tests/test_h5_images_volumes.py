"""Readers of volumes, NIfTI and DICOM: known answers, orientation and rescaling."""

from __future__ import annotations

import io

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading_images import ROOT, read_all, written

from gpulab.h5.images import SourceFile, open_planes
from gpulab.testing import images as made


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
