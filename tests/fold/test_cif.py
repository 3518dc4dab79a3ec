"""mmCIF files, read back with a parser that knows nothing of how they were written."""

from __future__ import annotations

from pathlib import Path

import pytest
from inputs import made_up_fold

from gpulab.fold.cif import check_atoms, read_atoms, write_cif
from gpulab.fold.scores import OutputError
from gpulab.testing.fold_inputs import helix

LABEL = """a "quoted" 'label'; with # signs"""


def write(folder: Path) -> tuple[Path, int]:
    fold = made_up_fold(folder, label=LABEL)
    atoms = read_atoms(fold.best.structure)
    path = folder / "model.cif"
    write_cif(path, fold, fold.best, atoms, "1.6.3")
    return path, len(atoms)


def test_atoms_and_b_factors_are_those_of_the_pdb(tmp_path: Path) -> None:
    from Bio.PDB.MMCIFParser import MMCIFParser

    path, count = write(tmp_path)
    structure = MMCIFParser(QUIET=True).get_structure("model", str(path))
    atoms = list(structure.get_atoms())
    assert len(atoms) == count == 49
    assert [chain.id for chain in structure.get_chains()] == ["A"]
    assert {atom.get_bfactor() for atom in atoms} == {50.0}
    assert [f"{value:.3f}" for value in atoms[1].coord] == ["2.280", "0.000", "0.000"]


def test_each_residue_has_its_plddt(tmp_path: Path) -> None:
    from Bio.PDB.MMCIF2Dict import MMCIF2Dict

    path, _ = write(tmp_path)
    content = MMCIF2Dict(str(path))
    assert content["_ma_qa_metric_local.label_seq_id"] == [str(i) for i in range(1, 11)]
    assert content["_ma_qa_metric_local.metric_value"][:3] == ["95.00", "91.00", "87.00"]
    assert content["_ma_qa_metric.mode"] == ["local", "global", "global", "global"]
    # ipTM of a single chain is not defined, so it is not there.
    assert content["_ma_qa_metric_global.metric_id"] == ["2", "3"]
    assert content["_struct.title"] == [f"{LABEL}, predicted by alphafold2_ptm model 3"]
    assert content["_entity_poly_seq.mon_id"][:2] == ["PRO", "ILE"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("   2.280", "     nan", 1),
        lambda text: text.replace("   2.280", "   x.280", 1),
        lambda text: "\n".join(line for line in text.splitlines() if "ATOM" not in line),
    ],
)
def test_damaged_structures_are_told(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    path = tmp_path / "model.pdb"
    path.write_text(damage(helix("PIAQ")))
    with pytest.raises(OutputError):
        read_atoms(path)


def test_another_sequence_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pdb"
    path.write_text(helix("PIAQ"))
    atoms = read_atoms(path)
    check_atoms(atoms, ("PIAQ",))
    for chains in (("PIAK",), ("PIA",), ("PIAQI",)):
        with pytest.raises(OutputError, match="residues"):
            check_atoms(atoms, chains)
