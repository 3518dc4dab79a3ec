"""Names, groups and weights of samples in an untrusted file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.h5.each_sample import read_weights
from gpulab.h5.part import open_part
from gpulab.h5.safe import open_untrusted
from gpulab.testing.datasets import write_arrays

N = 3


def make(path: Path, **more: Any) -> Path:
    images = np.zeros((N, 8, 8, 1), np.uint8)
    write_arrays(path, {"images": images, "masks": images[..., 0]})
    with h5py.File(path, "a") as file:
        file.update(more)
    return path


@given(values=st.lists(st.floats(0, 1e300, width=64), min_size=1, max_size=20).filter(any))
def test_weights_are_those_of_the_file(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "a.h5"
    with h5py.File(path, "w") as file:
        file["sample_weight"] = values
    with open_untrusted(path, "data") as file:
        weights = read_weights(file, "sample_weight", len(values), "data")
    assert weights is not None and weights.dtype == np.float64
    np.testing.assert_array_equal(weights, values)


def test_weights_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", sample_weight=np.array([2, 0, 1], np.uint8))
    with open_part(path) as part:
        assert part.weights is None
    with open_part(path, weights="sample_weight") as part:
        assert part.weights is not None and part.weights.tolist() == [2.0, 0.0, 1.0]
    with open_part(make(tmp_path / "b.h5"), weights="sample_weight") as part:
        assert part.weights is None
    with open_part(path, weights="") as part:
        assert part.weights is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.0, -1.0, 1.0]), "holds NaN, infinity or a negative number for sample 1"),
        (np.array([1.0, 1.0, np.nan]), "negative number for sample 2 .counted from 0., give"),
        (np.array([np.inf, 1.0, 1.0]), "negative number for sample 0"),
        (np.zeros(N), "holds nothing but 0, give some samples a weight above 0"),
        (np.ones(N + 1), "has the shape 4, it needs one number for each of the 3 samples"),
        (np.ones((N, 1)), "has the shape 3 x 1, it needs one number"),
        (np.array(1.0), "has the shape no axes"),
        (np.array([b"1", b"2", b"3"]), "sample_weight of the training data"),
    ],
)
def test_weights_that_are_none(tmp_path: Path, values: Any, message: str) -> None:
    path = make(tmp_path / "a.h5", sample_weight=values)
    with pytest.raises(InputError, match=message), open_part(path, weights="sample_weight"):
        pass


def test_a_name_of_ones_own_must_be_there(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5")
    for what, usual in (
        ("weights", "sample_weight"),
        ("groups", "groups"),
        ("sample_ids", "sample_ids"),
    ):
        options: dict[str, Any] = {what: "mine"}
        message = f"The training data has no dataset mine for the {usual}, correct the name"
        with pytest.raises(InputError, match=message), open_part(path, **options):
            pass
