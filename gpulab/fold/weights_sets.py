"""The published sets of weights that ColabFold can use, and where they are."""

from __future__ import annotations

from dataclasses import dataclass

_ALPHAFOLD = "https://storage.googleapis.com/alphafold/"
_DEEPFOLD = "https://colabfold.steineggerlab.workers.dev/deepfold_v1/"

# Of the parameters, not of the program: https://github.com/google-deepmind/alphafold, "License and
# Disclaimer". ColabFold's page names no licence of DeepFold's parameters.
ALPHAFOLD_LICENCE = "CC BY 4.0 (AlphaFold parameters, Google DeepMind)"
DEEPFOLD_LICENCE = "not stated with the parameters (DeepFold's program: Apache 2.0)"


@dataclass(frozen=True)
class WeightsSet:
    """A published set of weights.

    Attributes:
        name: What a form shows.
        version: Date or number of its release.
        model_type: The type of model for which it was published; it may hold others besides.
        urls: Where its files are.
        licence: Under which licence.
        size: Size in bytes of its only file, where that is known. No sums have been published.
    """

    name: str
    version: str
    model_type: str
    urls: tuple[str, ...]
    licence: str
    size: int | None = None


# Addresses: colabfold.download of ColabFold 1.6.3. Sizes: what the server announced to others.
WEIGHTS_SETS = {
    "alphafold2": WeightsSet(
        "AlphaFold 2 for single chains",
        "2021-07-14",
        "alphafold2_ptm",
        (f"{_ALPHAFOLD}alphafold_params_2021-07-14.tar",),
        ALPHAFOLD_LICENCE,
        3_722_752_000,
    ),
    "multimer_v1": WeightsSet(
        "AlphaFold-Multimer 1",
        "2021-10-27",
        "alphafold2_multimer_v1",
        (f"{_ALPHAFOLD}alphafold_params_colab_2021-10-27.tar",),
        ALPHAFOLD_LICENCE,
    ),
    "multimer_v2": WeightsSet(
        "AlphaFold-Multimer 2",
        "2022-03-02",
        "alphafold2_multimer_v2",
        (f"{_ALPHAFOLD}alphafold_params_colab_2022-03-02.tar",),
        ALPHAFOLD_LICENCE,
    ),
    "multimer_v3": WeightsSet(
        "AlphaFold-Multimer 3",
        "2022-12-06",
        "alphafold2_multimer_v3",
        (f"{_ALPHAFOLD}alphafold_params_colab_2022-12-06.tar",),
        ALPHAFOLD_LICENCE,
        4_099_624_960,
    ),
    "deepfold_v1": WeightsSet(
        "DeepFold 1 for single chains",
        "1",
        "deepfold_v1",
        tuple(f"{_DEEPFOLD}deepfold_model_{number}.npz" for number in range(1, 6)),
        DEEPFOLD_LICENCE,
    ),
}
