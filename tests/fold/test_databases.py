"""Databases: checking those that are there, and building them with MMseqs2."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gpulab.errors import InputError
from gpulab.fold.databases import Databases, check_databases, present
from gpulab.fold.databases_build import Taxonomy, build_clusters, build_sequences
from gpulab.fold.programs import mmseqs
from gpulab.testing import fold_database as tiny

EVERYTHING = (tiny.UNIREF, tiny.ENVIRONMENTAL, tiny.TEMPLATES)


@pytest.fixture
def copy(database: Databases, tmp_path: Path) -> Path:
    return Path(shutil.copytree(database.path, tmp_path / "db", symlinks=True))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    tiny.write_sources(folder)
    return folder


def test_kinds_of_a_complete_folder(copy: Path) -> None:
    found = check_databases(copy, *EVERYTHING)
    wanted = ("clusters", "pairing", "environmental", "templates", "structures")
    assert found == Databases(copy, *EVERYTHING, wanted)
    assert present(found)


def test_kinds_without_taxonomy_and_structures(copy: Path) -> None:
    (copy / f"{tiny.UNIREF}_mapping").unlink()
    shutil.rmtree(copy / "pdb")
    assert check_databases(copy, *EVERYTHING).kinds == ("clusters", "environmental", "templates")


def test_index_and_gpu_are_seen(copy: Path) -> None:
    def run(*command: str) -> None:
        subprocess.run([mmseqs(), *command, "-v", "1"], check=True, cwd=copy)

    run("createindex", tiny.UNIREF, "tmp", "--split", "1")
    run("makepaddedseqdb", tiny.UNIREF, "padded")
    # With an index ColabFold needs neither members nor alignments.
    for ending in ("_aln", "_seq", "_seq_h"):
        shutil.copytree(copy, copy.parent / "indexed", symlinks=False, dirs_exist_ok=True)
        (copy.parent / "indexed" / f"{tiny.UNIREF}{ending}.index").unlink()
    assert check_databases(copy.parent / "indexed", tiny.UNIREF).kinds[-1] == "index"
    for ending in ("", "_seq", "_aln", "_seq_h"):
        for path in copy.glob(f"{tiny.UNIREF}{ending}*"):
            name = path.name.replace(tiny.UNIREF, "padded")
            if not (copy / name).exists():
                shutil.copyfile(path, copy / name)
    assert "gpu" in check_databases(copy, "padded").kinds


@pytest.mark.parametrize("ending", [".dbtype", ".index", "_h.index", "_seq.dbtype", "_aln.index"])
def test_a_missing_file_is_named(copy: Path, ending: str) -> None:
    (copy / f"{tiny.UNIREF}{ending}").unlink()
    with pytest.raises(InputError, match=f"{tiny.UNIREF}{ending} is not in"):
        check_databases(copy, tiny.UNIREF)


@pytest.mark.parametrize("ending", ["", "_seq", "_aln"])
def test_a_database_that_was_cut_short_is_refused(copy: Path, ending: str) -> None:
    path = copy / f"{tiny.UNIREF}{ending}"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(InputError, match=f"MMseqs2 cannot read entry .* {tiny.UNIREF}{ending} "):
        check_databases(copy, tiny.UNIREF)


@pytest.mark.parametrize("content", [b"", b"a\tb\tc\n", b"\n\n"])
def test_a_broken_index_is_refused(copy: Path, content: bytes) -> None:
    (copy / f"{tiny.UNIREF}.index").write_bytes(content)
    with pytest.raises(InputError, match=r"\.index is empty or broken"):
        check_databases(copy, tiny.UNIREF)


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"\0\0\0\0\0"])
def test_a_broken_type_is_refused(copy: Path, content: bytes) -> None:
    (copy / f"{tiny.UNIREF}.dbtype").write_bytes(content)
    with pytest.raises(InputError, match="is not 4 bytes long"):
        check_databases(copy, tiny.UNIREF)


def test_a_database_of_another_type_is_refused(copy: Path) -> None:
    with pytest.raises(InputError, match="holds something else"):
        check_databases(copy, f"{tiny.UNIREF}_aln")


@pytest.mark.parametrize("name", ["../db", "a b", "-v", ".hidden", "a/b", "a\n"])
def test_a_name_that_is_a_path_or_an_option_is_refused(copy: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a database"):
        check_databases(copy, name)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        check_databases(tmp_path / "nothing", tiny.UNIREF)
    assert not present(Databases(tmp_path, tiny.UNIREF))


def test_what_is_built_can_be_moved(sources: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    taxonomy = Taxonomy(sources / "mapping.tabular", sources / "nodes.dmp", sources / "names.dmp")
    build_clusters(sources / "members.fasta", built, "mine", taxonomy=taxonomy, thorough=False)
    moved = built.rename(tmp_path / "elsewhere")
    assert check_databases(moved, "mine").kinds == ("clusters", "pairing")
    assert not [path for path in moved.iterdir() if path.is_symlink() and not path.exists()]
    assert not list(moved.glob(".mmseqs-*"))


def test_both_ways_of_clustering_find_the_families(sources: Path, tmp_path: Path) -> None:
    counts = {}
    for thorough in (True, False):
        folder = tmp_path / str(thorough)
        folder.mkdir()
        build_clusters(sources / "members.fasta", folder, "mine", thorough=thorough, threads=2)
        counts[thorough] = len((folder / "mine.index").read_text().splitlines())
    members = len(tiny.members())
    assert 3 <= counts[True] < counts[False] < members


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "MMseqs2 could not createdb"),
        (b"no fasta at all\n", "MMseqs2 could not createdb"),
        (b">dna\n" + b"ACGT" * 100 + b"\n", "holds no protein sequences"),
    ],
)
def test_files_without_proteins_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    fasta = tmp_path / "bad.fasta"
    fasta.write_bytes(content)
    (tmp_path / "db").mkdir()
    with pytest.raises(InputError, match=message):
        build_sequences(fasta, tmp_path / "db", "mine")


def test_a_mapping_of_other_sequences_is_refused(sources: Path, tmp_path: Path) -> None:
    taxonomy = Taxonomy(sources / "mapping.tabular", sources / "nodes.dmp", sources / "names.dmp")
    taxonomy.mapping.write_text("somebody_else\t9000\n")
    folder = tmp_path / "db"
    folder.mkdir()
    with pytest.raises(InputError, match="No sequence has a species"):
        build_clusters(sources / "members.fasta", folder, "x", taxonomy=taxonomy, thorough=False)


def test_a_disk_without_room_is_refused(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"only 0\.0 GB are free"):
        build_sequences(sources / "members.fasta", tmp_path, "mine")


def test_relatives_stay_recognisable() -> None:
    for family, ancestor in tiny.ancestors().items():
        query = tiny.queries()[family]
        assert query != ancestor
        assert abs(len(query) - len(ancestor)) <= 3
    assert {taxon for _, taxon in tiny.members().values()} == set(range(9000, 9012))
