"""Templates: copied under names of ours, hostile ones refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from inputs import DATA, made_up_fold

from gpulab.errors import InputError
from gpulab.fold.cif import read_atoms, write_cif
from gpulab.fold.options import File
from gpulab.fold.run_templates import copy_templates


def test_names_have_four_characters_and_the_original_stays(tmp_path: Path) -> None:
    before = sorted(DATA.iterdir())
    files = [File("my helix.pdb", DATA / "helix.pdb")] * 2
    names = copy_templates(files, tmp_path / "templates")
    assert names == {"t000": "my helix.pdb", "t001": "my helix.pdb"}
    copies = sorted((tmp_path / "templates").iterdir())
    assert [path.name for path in copies] == ["t000.pdb", "t001.pdb"]
    assert copies[0].read_bytes() == (DATA / "helix.pdb").read_bytes()
    assert sorted(DATA.iterdir()) == before


def test_mmcif_that_lacks_what_colabfold_asks_becomes_pdb(tmp_path: Path) -> None:
    fold = made_up_fold(tmp_path)
    path = tmp_path / "model.cif"
    write_cif(path, fold, fold.best, read_atoms(fold.best.structure), "1.6.3")
    copy_templates([File("model.cif", path)], tmp_path / "templates")
    copied = list((tmp_path / "templates").iterdir())
    assert [item.name for item in copied] == ["t000.pdb"]
    assert len(read_atoms(copied[0])) == 49


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing that is a structure\n", "holds no amino acids"),
        ("HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00\n", "no amino acids"),
        ("data_x\nloop_\n_atom_site.id\n_atom_site.label_atom_id\n1\n", "cannot be read as mmCIF"),
        ("ATOM      1  CA  ALA A   1       x.xxx   0.000   0.000\n", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_protein_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "template"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        copy_templates([File("odd", path)], tmp_path / "templates")
