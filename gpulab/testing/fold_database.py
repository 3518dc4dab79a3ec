"""A tiny made-up database of sequences, and queries that find known relatives in it.

`python -m gpulab.testing.fold_database FOLDER` builds it in a few seconds. Three families of
proteins that nobody has ever seen live in twelve made-up species, one member of each family in each
species, so that the chains of a complex of two families pair in every species. The environmental
database holds more distant relatives, and the templates one ideal helix with family A's sequence.
"""

from __future__ import annotations

import gzip
import random
import shutil
import sys
import tempfile
from pathlib import Path

from gpulab.fold import databases, databases_build
from gpulab.fold.databases import STRUCTURES, Databases, check_databases
from gpulab.fold.databases_build import Taxonomy, build_clusters, build_sequences
from gpulab.testing.files import test_file
from gpulab.testing.fold_cache import made_once, recipe_of
from gpulab.testing.fold_helix import helix_pdb

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
LENGTHS = {"A": 60, "B": 50, "C": 70}  # residues of each family's ancestor
SPECIES = 12
DISTANT = 8  # environmental relatives of each family
FIRST_TAXON = 9000
# The names of the real databases, so that nothing but the folder differs.
UNIREF = "uniref30_2302_db"
ENVIRONMENTAL = "colabfold_envdb_202108_db"
TEMPLATES = "pdb100_230517"
TEMPLATE = "9xyz"  # of chain A; no such entry can be in the PDB


def tiny_database(folder: Path) -> Databases:
    """Build the tiny database unless it is there.

    Args:
        folder: It appears whole or not at all.

    Returns:
        What a row of the table of databases would say.
    """
    sources = [__file__, str(databases.__file__), str(databases_build.__file__)]
    made_once(folder, recipe_of(sources), build)
    return check_databases(folder, UNIREF, ENVIRONMENTAL, TEMPLATES)


def ancestors() -> dict[str, str]:
    """Return the sequence from which each family's members descend."""
    source = random.Random(7)  # noqa: S311 - made-up sequences are no secret
    return {
        family: "".join(source.choice(LETTERS) for _ in range(length))
        for family, length in LENGTHS.items()
    }


def relative(sequence: str, change: float, seed: str) -> str:
    """Return a descendant of a sequence.

    Args:
        sequence: The ancestor, in one-letter codes.
        change: Share of residues that are exchanged; one eighth of it is lost or gained besides.
        seed: Makes it another one.
    """
    source = random.Random(seed)  # noqa: S311
    result = []
    for letter in sequence:
        roll = source.random()
        if roll < change / 16:
            continue
        result.append(source.choice(LETTERS) if roll < change else letter)
        if roll > 1 - change / 16:
            result.append(source.choice(LETTERS))
    return "".join(result)


def queries() -> dict[str, str]:
    """Return a query of each family, which is no member of it."""
    return {family: relative(seq, 0.05, f"query {family}") for family, seq in ancestors().items()}


def members() -> dict[str, tuple[str, int]]:
    """Return the sequence and the taxon of each member of the database of clusters."""
    return {
        f"UniRef100_fam{family}{index:02d}": (
            relative(sequence, 0.08 + 0.03 * index, f"member {family} {index}"),
            FIRST_TAXON + index,
        )
        for family, sequence in ancestors().items()
        for index in range(SPECIES)
    }


def environmental_members() -> dict[str, str]:
    """Return the sequences of the environmental database."""
    return {
        f"ENV_fam{family}{index:02d}": relative(sequence, 0.1 + 0.03 * index, f"{family} {index}")
        for family, sequence in ancestors().items()
        for index in range(DISTANT)
    }


def template_pdb() -> str:
    """Return the template, an ideal helix of family A's ancestor, as a PDB file."""
    return helix_pdb(ancestors()["A"])


def write_sources(folder: Path) -> Taxonomy:
    """Write what the database is built from: `members.fasta`, `environmental.fasta`, taxonomy."""
    (folder / "members.fasta").write_text(
        "".join(
            f">{name} made up n=1 Tax=made-up TaxID={taxon}\n{sequence}\n"
            for name, (sequence, taxon) in members().items()
        ),
        encoding="utf-8",
    )
    (folder / "environmental.fasta").write_text(
        "".join(f">{name}\n{sequence}\n" for name, sequence in environmental_members().items()),
        encoding="utf-8",
    )
    (folder / "templates.fasta").write_text(
        f">{TEMPLATE}_A\n{ancestors()['A']}\n", encoding="utf-8"
    )
    species = range(FIRST_TAXON, FIRST_TAXON + SPECIES)
    taxonomy = Taxonomy(folder / "mapping.tabular", folder / "nodes.dmp", folder / "names.dmp")
    taxonomy.mapping.write_text(
        "".join(f"{name}\t{taxon}\n" for name, (_, taxon) in members().items()), encoding="utf-8"
    )
    # NCBI's form: fields between tabs and bars.
    nodes = [
        (1, 1, "no rank"),
        (2, 1, "superkingdom"),
        *((taxon, 2, "species") for taxon in species),
    ]
    taxonomy.nodes.write_text(
        "".join(f"{taxon}\t|\t{parent}\t|\t{rank}\t|\t\t|\n" for taxon, parent, rank in nodes),
        encoding="utf-8",
    )
    names = {1: "root", 2: "Bacteria"} | {taxon: f"made up {taxon}" for taxon in species}
    taxonomy.names.write_text(
        "".join(f"{taxon}\t|\t{n}\t|\t\t|\tscientific name\t|\n" for taxon, n in names.items()),
        encoding="utf-8",
    )
    return taxonomy


# What the data manager of databases is tested with, named as `write_sources` names it.
for _name in (
    *("members.fasta", "environmental.fasta", "templates.fasta"),
    *("mapping.tabular", "nodes.dmp", "names.dmp"),
):

    @test_file(f"fold/{_name}")
    def write_source(path: Path, name: str = _name) -> None:
        """Write one of the files that the database is built from."""
        with tempfile.TemporaryDirectory() as scratch:
            write_sources(Path(scratch))
            shutil.copyfile(Path(scratch) / name, path)


def build(folder: Path) -> None:
    """Build the database in an empty folder."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch)
        taxonomy = write_sources(sources)
        members_fasta = sources / "members.fasta"
        build_clusters(members_fasta, folder, UNIREF, taxonomy=taxonomy, thorough=False)
        build_clusters(sources / "environmental.fasta", folder, ENVIRONMENTAL, thorough=False)
        build_sequences(sources / "templates.fasta", folder, TEMPLATES)
        _write_structure(sources / f"{TEMPLATE}.pdb", folder)


def _write_structure(pdb: Path, folder: Path) -> None:
    """Write the template's structure as the PDB's archive holds its entries."""
    from colabfold.batch import convert_pdb_to_mmcif

    pdb.write_text(template_pdb(), encoding="utf-8")
    convert_pdb_to_mmcif(pdb)
    target = folder / STRUCTURES / TEMPLATE[1:3] / f"{TEMPLATE}.cif.gz"
    target.parent.mkdir(parents=True)
    with pdb.with_suffix(".cif").open("rb") as source, gzip.open(target, "wb") as archive:
        shutil.copyfileobj(source, archive)


def main() -> None:
    """Build the database in the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    print(tiny_database(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
