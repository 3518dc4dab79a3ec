"""Templates: the user's structures, checked and named as ColabFold wants them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.fold.options import File

MAX_TEMPLATES = 200
MAX_TEMPLATE_BYTES = 100 << 20


def copy_templates(files: Sequence[File], folder: Path) -> Mapping[str, str]:
    """Copy templates into a folder of ours: ColabFold writes beside them, and wants short names.

    Args:
        files: PDB or mmCIF files of the user.
        folder: Folder to make; each run of ColabFold needs its own.

    Returns:
        What the user calls each template, by its name for ColabFold, which has four characters.

    Raises:
        InputError: A file is no protein structure.
    """
    if len(files) > MAX_TEMPLATES:
        raise InputError(f"{len(files)} templates are given, give at most {MAX_TEMPLATES}")
    folder.mkdir(parents=True)
    names = {}
    for number, file in enumerate(files):
        name = f"t{number:03d}"
        _copy(file, folder / name)
        names[name] = file.label
    return names


def _copy(file: File, target: Path) -> None:
    from Bio.PDB.Polypeptide import is_aa

    if file.path.stat().st_size > MAX_TEMPLATE_BYTES:
        raise InputError(
            f"The template {file.label!r} is larger than {MAX_TEMPLATE_BYTES >> 20} MiB, give "
            "single chains"
        )
    is_cif = b"_atom_site." in file.path.read_bytes()
    try:
        structure = _parse(file.path, is_cif=is_cif)
    # What Biopython's parsers let through when a field is damaged.
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(
            f"The template {file.label!r} cannot be read as {'mmCIF' if is_cif else 'PDB'} "
            f"({error}), give a structure from the PDB or of a prediction"
        ) from error
    if not any(is_aa(residue, standard=True) for residue in structure.get_residues()):
        raise InputError(f"The template {file.label!r} holds no amino acids, give a protein")
    if not is_cif:
        shutil.copyfile(file.path, target.with_suffix(".pdb"))
    elif _is_complete(file.path):
        shutil.copyfile(file.path, target.with_suffix(".cif"))
    else:
        _write_pdb(structure, target.with_suffix(".pdb"), file.label)


def _parse(path: Path, *, is_cif: bool) -> Any:
    from Bio.PDB.MMCIFParser import MMCIFParser
    from Bio.PDB.PDBExceptions import PDBConstructionException
    from Bio.PDB.PDBParser import PDBParser

    parser = MMCIFParser(QUIET=True) if is_cif else PDBParser(QUIET=True)
    try:
        return parser.get_structure("template", str(path))
    except PDBConstructionException as error:
        raise ValueError(str(error)) from error


def _is_complete(path: Path) -> bool:
    """Tell whether an mmCIF file holds what ColabFold asks of one."""
    from Bio.PDB.MMCIF2Dict import MMCIF2Dict

    # `validate_and_fix_mmcif` of ColabFold 1.6.3.
    return {
        "_chem_comp.id",
        "_chem_comp.type",
        "_struct_asym.id",
        "_struct_asym.entity_id",
        "_entity_poly_seq.mon_id",
    } <= set(MMCIF2Dict(str(path)))


def _write_pdb(structure: Any, path: Path, label: str) -> None:
    from Bio.PDB.PDBExceptions import PDBIOException
    from Bio.PDB.PDBIO import PDBIO

    writer = PDBIO()
    writer.set_structure(structure)
    try:
        writer.save(str(path))
    except (PDBIOException, ValueError) as error:
        raise InputError(
            f"The template {label!r} cannot be written as PDB ({error}), give the file of the PDB "
            "or single chains"
        ) from error
