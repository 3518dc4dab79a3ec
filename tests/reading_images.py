"""Reads image files whole, or sees them refused, for the tests of their readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpulab.errors import InputError
from gpulab.h5.images import SourceFile, open_planes

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
