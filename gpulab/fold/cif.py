"""Turns ColabFold's PDB files into mmCIF that says how sure the network is of each residue.

The files hold the atoms and those categories of the ModelCIF dictionary that viewers read: pLDDT of
each residue in `ma_qa_metric_local`, of the whole model in `ma_qa_metric_global`. The PAE is not in
them, and they are not checked against the dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.fold.scores import Fold, Model, OutputError

# PDB residue names by one-letter code; X is what AlphaFold calls an unknown residue.
THREE_LETTERS = {
    "A": "ALA",
    "C": "CYS",
    "D": "ASP",
    "E": "GLU",
    "F": "PHE",
    "G": "GLY",
    "H": "HIS",
    "I": "ILE",
    "K": "LYS",
    "L": "LEU",
    "M": "MET",
    "N": "ASN",
    "P": "PRO",
    "Q": "GLN",
    "R": "ARG",
    "S": "SER",
    "T": "THR",
    "V": "VAL",
    "W": "TRP",
    "X": "UNK",
    "Y": "TYR",
}
LOCAL_PLDDT, PLDDT, PTM, IPTM = "1", "2", "3", "4"  # ids of the metrics in the file
_Category = dict[str, list[str]]


@dataclass(frozen=True)
class Atom:
    """An atom of a predicted structure; coordinates in Å, as the PDB file writes them."""

    name: str
    element: str
    residue: str
    chain: str
    number: int
    xyz: tuple[str, str, str]
    b_factor: str


def read_atoms(path: Path) -> list[Atom]:
    """Read the atoms of ColabFold's PDB file.

    Raises:
        OutputError: The file holds no atoms, or coordinates that are no numbers.
    """
    from Bio.PDB.PDBExceptions import PDBConstructionException
    from Bio.PDB.PDBParser import PDBParser

    try:
        structure = PDBParser(PERMISSIVE=False, QUIET=True).get_structure("model", str(path))
    except (PDBConstructionException, ValueError) as error:
        raise OutputError(f"the PDB file that ColabFold wrote is damaged ({error})") from error
    atoms = [_atom(atom) for atom in structure.get_atoms()]
    if not atoms:
        raise OutputError("the PDB file that ColabFold wrote holds no atoms")
    return atoms


def _atom(atom: Any) -> Atom:
    residue = atom.get_parent()
    x, y, z = (f"{value:.3f}" for value in atom.coord)
    if "nan" in (x, y, z):
        raise OutputError("the PDB file that ColabFold wrote holds coordinates that are no numbers")
    return Atom(
        name=atom.get_name(),
        element=atom.element,
        residue=residue.get_resname(),
        chain=residue.get_parent().id,
        number=residue.id[1],
        xyz=(x, y, z),
        b_factor=f"{atom.get_bfactor():.2f}",
    )


def check_atoms(atoms: Iterable[Atom], chains: Sequence[str]) -> None:
    """Compare the residues of a structure with the sequence that was to be folded.

    Raises:
        OutputError: They differ.
    """
    residues = {(atom.chain, atom.number): atom.residue for atom in atoms}
    found = list(residues.values())
    wanted = [THREE_LETTERS[letter] for chain in chains for letter in chain]
    if found != wanted:
        raise OutputError(
            f"ColabFold's structure has {len(found)} residues that are not the {len(wanted)} asked"
        )


def write_cif(path: Path, fold: Fold, model: Model, atoms: Sequence[Atom], version: str) -> None:
    """Write a structure as mmCIF.

    Args:
        path: File to write.
        fold: The query, whose chains are those of the structure.
        model: What is said of the structure.
        atoms: Its atoms.
        version: Version of ColabFold.
    """
    from Bio.PDB.mmcifio import MMCIFIO

    writer = MMCIFIO()
    entities = list(dict.fromkeys(fold.chains))
    chain_ids = list(dict.fromkeys(atom.chain for atom in atoms))
    entity_of = {
        chain: str(entities.index(sequence) + 1)
        for chain, sequence in zip(chain_ids, fold.chains, strict=True)
    }
    content: dict[str, Any] = {"data_": fold.name, "_entry.id": fold.name}
    title = f"{fold.label}, predicted by {model.model_type} model {model.model}"
    categories: Mapping[str, _Category] = {
        "_struct": {"entry_id": [fold.name], "title": [title]},
        "_entity": _entities(entities),
        "_entity_poly": _polymers(entities, entity_of),
        "_entity_poly_seq": _sequences(entities),
        "_struct_asym": {
            "id": chain_ids,
            "entity_id": [entity_of[chain] for chain in chain_ids],
            "details": ["?"] * len(chain_ids),
        },
        "_software": _software(version),
        "_ma_model_list": {
            "ordinal_id": ["1"],
            "model_id": ["1"],
            "model_group_id": ["1"],
            "model_name": [f"rank {model.rank}, {model.tag}"],
            "model_type": ["Ab initio model"],
        },
        "_ma_qa_metric": _metrics(),
        "_ma_qa_metric_global": _global_metrics(model),
        "_ma_qa_metric_local": _local_metrics(fold, model, chain_ids),
        "_atom_site": _atom_sites(atoms, entity_of),
    }
    for category, columns in categories.items():
        for name, values in columns.items():
            content[f"{category}.{name}"] = values
    writer.set_dict(content)
    writer.save(str(path))


def _entities(entities: Sequence[str]) -> _Category:
    return {
        "id": _numbers(len(entities)),
        "type": ["polymer"] * len(entities),
        "pdbx_description": [f"protein of {len(sequence)} residues" for sequence in entities],
    }


def _polymers(entities: Sequence[str], entity_of: Mapping[str, str]) -> _Category:
    ids = _numbers(len(entities))
    strands = [",".join(c for c, entity in entity_of.items() if entity == number) for number in ids]
    return {
        "entity_id": ids,
        "type": ["polypeptide(L)"] * len(ids),
        "pdbx_strand_id": strands,
        "pdbx_seq_one_letter_code": list(entities),
        "pdbx_seq_one_letter_code_can": list(entities),
    }


def _sequences(entities: Sequence[str]) -> _Category:
    rows = [
        (str(entity), str(number), THREE_LETTERS[letter])
        for entity, sequence in enumerate(entities, start=1)
        for number, letter in enumerate(sequence, start=1)
    ]
    entity, number, residue = _columns(rows)
    return {
        "entity_id": entity,
        "num": number,
        "mon_id": residue,
        "hetero": ["n"] * len(rows),
    }


def _software(version: str) -> _Category:
    return {
        "pdbx_ordinal": ["1"],
        "name": ["ColabFold"],
        "version": [version],
        "classification": ["model building"],
        "type": ["package"],
        "location": ["https://github.com/sokrypton/ColabFold"],
    }


def _metrics() -> _Category:
    return {
        "id": [LOCAL_PLDDT, PLDDT, PTM, IPTM],
        "mode": ["local", "global", "global", "global"],
        "name": ["pLDDT", "pLDDT", "pTM", "ipTM"],
        "type": ["pLDDT", "pLDDT", "pTM", "ipTM"],
    }


def _global_metrics(model: Model) -> _Category:
    # A metric that the network does not give is NaN, which is the one number unequal to itself.
    known = [
        (metric, f"{value:.2f}")
        for metric, value in ((PLDDT, model.mean_plddt), (PTM, model.ptm), (IPTM, model.iptm))
        if value == value
    ]
    return {
        "ordinal_id": _numbers(len(known)),
        "model_id": ["1"] * len(known),
        "metric_id": [metric for metric, _ in known],
        "metric_value": [value for _, value in known],
    }


def _local_metrics(fold: Fold, model: Model, chain_ids: Sequence[str]) -> _Category:
    places = [
        (chain, str(number), THREE_LETTERS[letter])
        for chain, sequence in zip(chain_ids, fold.chains, strict=True)
        for number, letter in enumerate(sequence, start=1)
    ]
    chain, number, residue = _columns(places)
    return {
        "ordinal_id": _numbers(len(places)),
        "model_id": ["1"] * len(places),
        "label_asym_id": chain,
        "label_seq_id": number,
        "label_comp_id": residue,
        "metric_id": [LOCAL_PLDDT] * len(places),
        "metric_value": [f"{value:.2f}" for value in model.plddt],
    }


def _atom_sites(atoms: Sequence[Atom], entity_of: Mapping[str, str]) -> _Category:
    rows = [
        (
            *("ATOM", str(number), atom.element, atom.name, ".", atom.residue),
            *(atom.chain, entity_of[atom.chain], str(atom.number), "?"),
            *(*atom.xyz, "1.00", atom.b_factor, "?"),
            *(str(atom.number), atom.residue, atom.chain, atom.name, "1"),
        )
        for number, atom in enumerate(atoms, start=1)
    ]
    names = (
        *("group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id"),
        *("label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code"),
        *("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "pdbx_formal_charge"),
        *("auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num"),
    )
    return dict(zip(names, _columns(rows), strict=True))


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]
