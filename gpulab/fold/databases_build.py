"""Builds databases for `colabfold_search` from FASTA files with MMseqs2."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.errors import InputError
from gpulab.fold.databases import AMINO_ACIDS, read_type
from gpulab.fold.programs import mmseqs

# UniRef30 and ColabFold's environmental databases are clustered at 30 % identity over 80 % of the
# members' length (Mirdita et al. 2022, https://doi.org/10.1038/s41592-022-01488-1).
IDENTITY = 0.3
COVERAGE = 0.8
# Sequences, clusters, alignments and the programs' own files, as multiples of the FASTA file.
ROOM = 10


@dataclass(frozen=True)
class Taxonomy:
    """Which species each sequence is of, so that chains of a complex can be paired by species.

    Attributes:
        mapping: Table of two columns without a header: identifier of a sequence, NCBI taxon.
        nodes: `nodes.dmp` of NCBI's taxonomy dump.
        names: `names.dmp` of NCBI's taxonomy dump.
    """

    mapping: Path
    nodes: Path
    names: Path


def build_clusters(
    fasta: Path,
    folder: Path,
    name: str,
    *,
    taxonomy: Taxonomy | None = None,
    thorough: bool = True,
    threads: int = 1,
) -> None:
    """Cluster sequences and write the databases of representatives, members and alignments.

    Args:
        fasta: Sequences of proteins.
        folder: Where the database shall lie.
        name: Its name.
        taxonomy: Species of the sequences; without it chains cannot be paired.
        thorough: Whether to cluster step by step, which finds remote members, or in linear time.
        threads: How many processors to use.

    Raises:
        InputError: The file holds no proteins, the disk is full, or MMseqs2 fails.
    """
    members, alignments = folder / f"{name}_seq", folder / f"{name}_aln"
    with tempfile.TemporaryDirectory(prefix=".mmseqs-", dir=folder) as scratch:
        clusters = Path(scratch) / "clusters"
        work = str(Path(scratch) / "tmp")
        parallel = ["--threads", str(threads)]
        similar = ["--min-seq-id", str(IDENTITY), "-c", str(COVERAGE)]
        build_sequences(fasta, folder, members.name)
        step = "cluster" if thorough else "linclust"
        _run(step, str(members), str(clusters), work, *similar, *parallel)
        _run("createsubdb", str(clusters), str(members), str(folder / name), "--subdb-mode", "0")
        both = [str(members), str(members)]
        _run("align", *both, str(clusters), str(alignments), "-a", *parallel)
        if taxonomy is not None:
            _add_taxonomy(folder, name, taxonomy, Path(scratch))
    _make_links_relative(folder)


def build_sequences(fasta: Path, folder: Path, name: str) -> None:
    """Write a database of sequences as they are, such as those of templates.

    Raises:
        InputError: The file holds no proteins, the disk is full, or MMseqs2 fails.
    """
    free = shutil.disk_usage(folder).free
    wanted = ROOM * fasta.stat().st_size
    if free < wanted:
        raise InputError(
            f"Databases of {fasta.name} need about {wanted / 1e9:.1f} GB, but only"
            f" {free / 1e9:.1f} GB are free on the disk: make room or take fewer sequences"
        )
    _run("createdb", str(fasta), str(folder / name), "--shuffle", "0")
    if read_type(folder / name) != AMINO_ACIDS:
        raise InputError(
            f"{fasta.name} holds no protein sequences (MMseqs2 took them for nucleotides): give"
            " proteins in FASTA"
        )


def _add_taxonomy(folder: Path, name: str, taxonomy: Taxonomy, scratch: Path) -> None:
    dump = scratch / "dump"
    dump.mkdir()
    for source, target in ((taxonomy.nodes, "nodes.dmp"), (taxonomy.names, "names.dmp")):
        (dump / target).symlink_to(source.resolve())
    # Which taxa were merged or deleted matters only for mappings older than the dump.
    for target in ("merged.dmp", "delnodes.dmp"):
        (dump / target).touch()
    sequences = folder / f"{name}_seq"
    files = ["--ncbi-tax-dump", str(dump), "--tax-mapping-file", str(taxonomy.mapping)]
    _write_downloader(scratch)
    _run("createtaxdb", str(sequences), str(scratch / "tmp"), *files, more_programs=scratch)
    for ending in ("mapping", "taxonomy"):
        found = sequences.with_name(f"{sequences.name}_{ending}")
        if not found.is_file() or not found.stat().st_size:
            raise InputError(
                f"No sequence has a species in {taxonomy.mapping.name}: its first column must hold"
                " the identifiers of the FASTA file, its second NCBI's taxon numbers"
            )
        # Pairing reads them beside the representatives, expanding beside the members.
        shutil.copyfile(found, folder / f"{name}_{ending}")


def _write_downloader(folder: Path) -> None:
    """Write a program that fetches nothing, for machines that have none that does.

    createtaxdb does not begin without one, although everything is there and it fetches nothing.
    """
    program = folder / "wget"
    program.write_text("#!/bin/sh\necho 'nothing is fetched here' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)


def _make_links_relative(folder: Path) -> None:
    """Let links of MMseqs2 point to the file beside them, because the folder will be moved."""
    for path in folder.iterdir():
        if path.is_symlink() and path.readlink().is_absolute():
            target = path.readlink()
            path.unlink()
            path.symlink_to(os.path.relpath(target.resolve(), folder.resolve()))


def _run(*command: str, more_programs: Path | None = None) -> None:
    """Run a part of MMseqs2 and show what it says only when it fails.

    Args:
        command: Its name and arguments.
        more_programs: A folder of programs that it may use where the machine lacks them.

    Raises:
        InputError: It failed.
    """
    print(f"mmseqs {command[0]}", flush=True)
    arguments: Sequence[str] = [str(mmseqs()), *command, "-v", "2"]
    path = os.environ.get("PATH", os.defpath)
    done = subprocess.run(
        arguments,
        env={
            **os.environ,
            # One file a database, however many threads wrote it.
            "MMSEQS_FORCE_MERGE": "1",
            "PATH": f"{path}{os.pathsep}{more_programs}" if more_programs else path,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "nothing")
        raise InputError(
            f"MMseqs2 could not {command[0]} the sequences (it says: {said}): check the FASTA file"
            " and the room on the disk"
        )
