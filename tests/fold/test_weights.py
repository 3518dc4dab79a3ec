"""Weights: what a folder must hold, and the stand-ins that the other tests fold with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpulab.errors import InputError
from gpulab.fold.weights import (
    MODEL_TYPES,
    PARAMS,
    check_archives,
    check_weights,
    missing_files,
    model_types_in,
)
from gpulab.testing.fold_archives import tiny_set
from gpulab.testing.fold_cache import made_once
from gpulab.testing.fold_weights import PAE, PLDDT, RANKED

# Arrays and parameters of the published sets: AlphaFold 2.3's architecture.
SIZES = {
    "alphafold2_ptm": (338, 93_237_338),
    "alphafold2_multimer_v3": (330, 93_223_705),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    params = tmp_path / PARAMS
    params.mkdir()
    for name, content in tiny_set().items():
        (params / name).write_bytes(content)
    (params / MODEL_TYPES["alphafold2_multimer_v3"].marker).touch()
    return tmp_path


def test_a_complete_folder_is_known(folder: Path) -> None:
    assert model_types_in(folder) == ["alphafold2_multimer_v3"]
    check_weights(folder, "alphafold2_multimer_v3", "mine")


@pytest.mark.parametrize(
    "missing", ["params_model_5_multimer_v3.npz", "download_complexes_multimer_v3_finished.txt"]
)
def test_an_incomplete_folder_is_refused(folder: Path, missing: str) -> None:
    (folder / PARAMS / missing).unlink()
    assert missing_files(folder, "alphafold2_multimer_v3") == [missing]
    with pytest.raises(InputError, match=rf"“mine” hold no type of model.*{missing} is missing"):
        check_weights(folder, "alphafold2_multimer_v3", "mine")


def test_weights_of_another_type_are_refused_with_what_is_there(folder: Path) -> None:
    with pytest.raises(InputError, match="hold alphafold2_multimer_v3, but alphafold2_ptm is"):
        check_weights(folder, "alphafold2_ptm", "mine")


def test_an_unknown_type_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="alphafold3 is unknown"):
        check_weights(folder, "alphafold3", "mine")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_archive_of_arrays_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz"):
        check_archives(tmp_path, ["a.npz"])


@pytest.mark.parametrize("model_type", SIZES)
def test_stand_ins_have_the_true_architecture(weights: Path, model_type: str) -> None:
    name = MODEL_TYPES[model_type].pattern.format(1)
    with np.load(weights / PARAMS / name, allow_pickle=False) as arrays:
        shapes = {key: arrays[key].shape for key in arrays.files}
        # ColabFold dies of weights in half precision.
        assert {arrays[key].dtype for key in arrays.files} == {np.dtype(np.float32)}
    assert (len(shapes), sum(int(np.prod(shape)) for shape in shapes.values())) == SIZES[model_type]


def test_stand_ins_serve_every_type_and_differ_between_models(weights: Path) -> None:
    assert model_types_in(weights) == list(MODEL_TYPES)
    heads = set()
    for number in PLDDT:
        path = weights / PARAMS / f"params_model_{number}_ptm.npz"
        with np.load(path, allow_pickle=False) as arrays:
            bias = arrays["alphafold/alphafold_iteration/predicted_lddt_head/logits//bias"]
        heads.add(int(bias.argmax()))
    assert len(heads) == len(PLDDT)
    # On the disk they are small, because nearly all of them is zero.
    assert sum(path.lstat().st_blocks * 512 for path in (weights / PARAMS).iterdir()) < 200e6


def test_answers_of_the_stand_ins() -> None:
    assert PLDDT == {1: 61, 2: 71, 3: 91, 4: 81, 5: 51}
    assert PAE == {1: 2.25, 2: 3.25, 3: 4.25, 4: 5.25, 5: 6.25}
    assert RANKED == (3, 4, 2, 1, 5)


def test_what_is_made_once_is_made_again_when_its_recipe_changes(tmp_path: Path) -> None:
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append("made")
        (folder / "content").write_text(str(len(made)))

    for recipe in ("one", "one", "two"):
        made_once(tmp_path / "it", recipe, make)
    assert (tmp_path / "it" / "content").read_text() == "2"


def test_what_failed_to_be_made_is_not_there(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        made_once(tmp_path / "it", "one", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["it.lock"]
