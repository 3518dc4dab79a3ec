"""Stand-in weights of AlphaFold's true architecture, with known answers.

`python -m gpulab.testing.fold_weights FOLDER` writes them; about 25 s, and 120 MB on the disk.

The stacks of the Evoformer are zero, so that the residual path carries the input through them; the
rest is a repeating pseudo-random tile; the heads ignore their input and answer by their bias. So
model n gives every residue the pLDDT `PLDDT[n]` and every pair of residues the same error `PAE[n]`.
Coordinates follow from the tile, and are only good for being spread out.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpulab.fold.weights import MODEL_TYPES, MODELS, PARAMS
from gpulab.testing.fold_cache import made_once, recipe_of

Shape = tuple[int, ...]

# Bins of the head that predicts pLDDT are 2 wide, those of the predicted error 0.5 Å; the answers
# are the centres of the bins (alphafold.common.confidence).
_PLDDT_BINS = {1: 30, 2: 35, 3: 45, 4: 40, 5: 25}
_PAE_BINS = {number: 2 + 2 * number for number in MODELS}
PLDDT = {number: 2.0 * place + 1 for number, place in _PLDDT_BINS.items()}  # 61, 71, 91, 81, 51
PAE = {number: 0.5 * place + 0.25 for number, place in _PAE_BINS.items()}  # Å: 2.25, … 6.25
RANKED = tuple(sorted(MODELS, key=lambda number: -PLDDT[number]))  # 3, 4, 2, 1, 5

# The parameters of one type serve others: model 1 with pTM has all that any monomer type has, and
# the multimer types do not differ in their shapes.
FAMILIES = {
    "alphafold2_ptm": ("alphafold2", "deepfold_v1"),
    "alphafold2_multimer_v3": ("alphafold2_multimer_v1", "alphafold2_multimer_v2"),
}
_CERTAIN = 25.0  # a bias that leaves the other bins a probability of e^-25
_ZERO = ("evoformer_iteration", "extra_msa_stack", "template_pair_stack", "template_embedding_it")
_TILE = 1021  # a prime, so that rows of a matrix differ


def stand_in_weights(folder: Path, families: Sequence[str] = tuple(FAMILIES)) -> Path:
    """Write stand-in weights unless they are there.

    Args:
        folder: The folder for ColabFold's `--data`; it appears whole or not at all.
        families: Keys of `FAMILIES` to write, with the types that they serve.

    Returns:
        The folder.
    """
    families = sorted(families)
    recipe = recipe_of([__file__], *families, version("alphafold-colabfold"))
    return made_once(folder, recipe, lambda made: _write_families(made, families))


def _write_families(folder: Path, families: Sequence[str]) -> None:
    (folder / PARAMS).mkdir()
    for family in families:
        _write_family(folder / PARAMS, family)


def _write_family(params: Path, family: str) -> None:
    shapes = parameter_shapes(family)
    kind = MODEL_TYPES[family]
    for number in MODELS:
        name = kind.pattern.format(number)
        write_parameters(params / name, shapes, number)
        for other in FAMILIES[family]:
            (params / MODEL_TYPES[other].pattern.format(number)).symlink_to(name)
    for name in (family, *FAMILIES[family]):
        (params / MODEL_TYPES[name].marker).touch()


def parameter_shapes(model_type: str) -> dict[str, Shape]:
    """Return the name and shape of each parameter of model 1, from the installed network code.

    Nothing is computed: the network is only traced. Names are those of the published files,
    `scope//parameter`.
    """
    import jax

    runner, features = _runner(model_type)
    traced = jax.eval_shape(runner.init, jax.random.PRNGKey(0), features)
    return {
        f"{scope}//{name}": tuple(value.shape)
        for scope, values in traced.items()
        for name, value in values.items()
    }


def _runner(model_type: str) -> tuple[Any, dict[str, Any]]:
    """Return the network of model 1 without parameters, and features of a short query."""
    import jax
    from alphafold.model import config, model
    from colabfold.alphafold.models import model_to_config_name
    from colabfold.batch import generate_input_feature, mk_mock_template

    is_complex = "multimer" in model_type
    chains = ["ACDEFGHIKL", "MNPQRSTVWY"] if is_complex else ["ACDEFGHIKL"]
    settings = config.model_config(model_to_config_name(model_type, "1"))
    trunk = settings.model.embeddings_and_evoformer
    for stack in (trunk.evoformer, trunk.template.template_pair_stack):
        # The published files of monomers keep apart what newer code multiplies at once.
        stack.triangle_multiplication_incoming.fuse_projection_weights = is_complex
        stack.triangle_multiplication_outgoing.fuse_projection_weights = is_complex
    alignments = [f">{101 + index}\n{chain}\n" for index, chain in enumerate(chains)]
    features, _ = generate_input_feature(
        chains,
        [1] * len(chains),
        alignments,
        alignments if is_complex else None,
        [mk_mock_template(chain) for chain in chains],
        is_complex,
        model_type,
        max_seq=508,
    )
    runner = model.RunModel(settings, None)
    if not is_complex:
        identifiers = features["asym_id"]
        features = runner.process_features(features, random_seed=0)
        count = features["aatype"].shape[0]
        features["asym_id"] = np.tile(identifiers, count).reshape(count, -1)
        features = jax.tree_util.tree_map(lambda value: value[:1], features)
    residues = features["aatype"].shape[-1]
    # What an earlier recycle would have left: the sizes of AlphaFold's channels.
    features["prev"] = {
        "prev_msa_first_row": np.zeros((residues, 256), np.float16),
        "prev_pair": np.zeros((residues, residues, 128), np.float16),
        "prev_pos": np.zeros((residues, 37, 3), np.float16),
    }
    return runner, features


def write_parameters(path: Path, shapes: Mapping[str, Shape], number: int) -> None:
    """Write the parameters of one model, uncompressed, because that loads fastest.

    Args:
        path: The `.npz` file.
        shapes: Name and shape of each parameter.
        number: Which of the five models.
    """
    tile = np.random.default_rng(0).standard_normal(_TILE).astype(np.float32)
    with _SparseFile(path, "w") as file, zipfile.ZipFile(file, "w") as archive:
        for name, shape in shapes.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                array = _parameter(name, shape, number, tile)
                np.lib.format.write_array(member, array, allow_pickle=False)


def _parameter(
    name: str, shape: Shape, number: int, tile: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    scope, leaf = name.split("//")
    values = np.zeros(shape, np.float32)
    if "predicted_lddt_head/logits" in scope:
        if leaf == "bias":
            values[_PLDDT_BINS[number]] = _CERTAIN
    elif "predicted_aligned_error_head/logits" in scope:
        if leaf == "bias":
            values[_PAE_BINS[number]] = _CERTAIN
    elif not any(stack in scope for stack in _ZERO):
        if leaf == "scale":
            values[...] = 1
        else:
            # Kept small, and smaller the more of them are added up.
            size = 1 / math.sqrt(max(1, shape[-2])) if len(shape) > 1 else 0.02
            values[...] = np.resize(tile * np.float32(size), shape)
    return values


class _SparseFile(io.FileIO):
    """A file in which blocks of zeros take no room on the disk."""

    def write(self, data: Any) -> int:
        block = bytes(data)
        if len(block) > 4096 and not block.strip(b"\0"):
            self.seek(len(block), io.SEEK_CUR)
            return len(block)
        written = 0
        while written < len(block):
            written += super().write(block[written:])
        return written


def main() -> None:
    """Write the weights into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    print(stand_in_weights(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
