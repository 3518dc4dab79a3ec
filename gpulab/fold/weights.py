"""What a folder of network weights must hold for each type of model, and checking that it does."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gpulab.errors import InputError

MODELS = (1, 2, 3, 4, 5)
PARAMS = "params"  # ColabFold looks for the files in this folder below the one it is given


@dataclass(frozen=True)
class ModelType:
    """A type of model, by the name that ColabFold's `--model-type` gives it.

    Attributes:
        name: ColabFold's name.
        pattern: Name of a model's file, with `{}` in place of the model's number.
        marker: Empty file without which ColabFold would download the weights itself.
    """

    name: str
    pattern: str
    marker: str

    def files(self) -> list[str]:
        """Return the names of the files of all five models.

        ColabFold opens all of them, however few models are asked for.
        """
        return [self.pattern.format(number) for number in MODELS]


# Names of files and markers: colabfold.alphafold.models and colabfold.download of ColabFold 1.6.3.
MODEL_TYPES = {
    kind.name: kind
    for kind in (
        ModelType("alphafold2", "params_model_{}.npz", "download_finished.txt"),
        ModelType("alphafold2_ptm", "params_model_{}_ptm.npz", "download_finished.txt"),
        *(
            ModelType(
                f"alphafold2_multimer_v{version}",
                f"params_model_{{}}_multimer{suffix}.npz",
                f"download_complexes_multimer_v{version}_finished.txt",
            )
            for version, suffix in ((1, ""), (2, "_v2"), (3, "_v3"))
        ),
        ModelType("deepfold_v1", "deepfold_model_{}.npz", "download_deepfold-v1_finished.txt"),
    )
}


def missing_files(folder: Path, model_type: str) -> list[str]:
    """Return what a weights folder lacks of a model type.

    Args:
        folder: The folder that ColabFold gets as `--data`.
        model_type: A key of `MODEL_TYPES`.

    Returns:
        Names below `params/`; empty when all is there.
    """
    kind = MODEL_TYPES[model_type]
    names = [*kind.files(), kind.marker]
    return [name for name in names if not (folder / PARAMS / name).is_file()]


def model_types_in(folder: Path) -> list[str]:
    """Return the model types whose files are all in a weights folder."""
    return [name for name in MODEL_TYPES if not missing_files(folder, name)]


def check_weights(folder: Path, model_type: str, label: str) -> None:
    """Refuse a weights folder that lacks a model type, before ColabFold would download it.

    Args:
        folder: The folder that ColabFold shall get as `--data`.
        model_type: A key of `MODEL_TYPES`.
        label: What the form calls these weights.

    Raises:
        InputError: A file is missing, or the model type is unknown.
    """
    if model_type not in MODEL_TYPES:
        raise InputError(f"The model type {model_type} is unknown: choose one of the form's")
    missing = missing_files(folder, model_type)
    if missing:
        have = ", ".join(model_types_in(folder)) or "no type of model"
        raise InputError(
            f"The weights “{label}” hold {have}, but {model_type} is asked for ({missing[0]} is"
            " missing): choose other weights or another type of model, or ask this server's"
            " administrator to install them with the data manager of ColabFold's weights"
        )


def check_archives(folder: Path, names: Iterable[str]) -> None:
    """Refuse weights files that NumPy could not read.

    Only the directory of each archive is read: a full pass would take minutes for real weights.

    Args:
        folder: The folder in which the files lie.
        names: Names of `.npz` files.

    Raises:
        InputError: A file is no archive of arrays.
    """
    for name in names:
        try:
            with zipfile.ZipFile(folder / name) as archive:
                arrays = archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{name} is no NumPy archive ({error}): fetch it again") from error
        if not arrays or not all(array.endswith(".npy") for array in arrays):
            raise InputError(f"{name} holds something else than NumPy arrays: fetch it again")
