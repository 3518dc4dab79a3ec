"""What is to be folded: from text, FASTA, alignments or a colab.tar to checked queries."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gpulab.errors import InputError
from gpulab.fold.a3m import MAX_FILE_BYTES, Alignment, normalised, read_a3m
from gpulab.fold.options import File, FoldOptions
from gpulab.fold.queries import (
    Limits,
    Query,
    parse_queries,
    read_queries,
    unique_names,
)
from gpulab.fold.scores import folded_chains

PASTED = "typed into the form"
MAX_ARCHIVE_BYTES = 2 << 30
MAX_MEMBERS = 100_000


@dataclass(frozen=True)
class Job(Query):
    """A query as it goes to ColabFold, its chains in the order of the structure.

    Attributes:
        alignment: Its a3m file as ColabFold reads it; None to fold the sequence alone.
        depth: Rows of that file; 1 without.
    """

    alignment: Path | None = None
    depth: int = 1


def read_jobs(options: FoldOptions, folder: Path) -> list[Job]:
    """Read and check what is to be folded.

    Args:
        options: What the user chose.
        folder: Empty folder for the alignments as ColabFold reads them.

    Returns:
        The queries in the user's order, of which at least one has no problem.

    Raises:
        InputError: None can be folded.
    """
    limits = Limits.of_environment()
    if options.kind == "text":
        return _sequences(parse_queries(options.text, PASTED, limits))
    if not options.files:
        raise InputError("No input is given, choose sequences or alignments")
    if options.kind == "fasta":
        file = options.files[0]
        return _sequences(read_queries(file.path, file.label, limits))
    files = options.files
    if options.kind == "tar":
        files = unpack_alignments(options.files[0], folder)
    return _alignments(files, folder, limits, keep=not options.single_sequence)


def _sequences(queries: Sequence[Query]) -> list[Job]:
    return [
        Job(query.name, query.label, folded_chains(query.chains), problem=query.problem)
        for query in queries
    ]


def _alignments(files: Sequence[File], folder: Path, limits: Limits, *, keep: bool) -> list[Job]:
    if len(files) > limits.max_queries:
        raise InputError(
            f"{len(files)} alignments are given, this server folds at most {limits.max_queries} in "
            "one job, split them"
        )
    labels = [re.sub(r"\.(a3m|txt|fasta)$", "", file.label, flags=re.IGNORECASE) for file in files]
    jobs = [
        _alignment(file, label, name, folder if keep else None, limits)
        for file, label, name in zip(files, labels, unique_names(labels), strict=True)
    ]
    if all(job.problem for job in jobs):
        others = f" (and {len(jobs) - 1} more cannot be used either)" if jobs[1:] else ""
        raise InputError(f"{jobs[0].problem}{others}")
    return jobs


def _alignment(file: File, label: str, name: str, folder: Path | None, limits: Limits) -> Job:
    try:
        alignment = read_a3m(file.path, file.label)
        chains = folded_chains(alignment.sequences)
        # The same checks as for sequences.
        parse_queries(f">query\n{':'.join(chains)}", file.label, limits)
    except InputError as error:
        problem = str(error).replace("The query 'query'", f"The query {label!r}")
        return Job(name, label or name, (), problem=problem)
    if folder is None:
        return Job(name, label or name, chains)
    path = folder / f"{name}.a3m"
    path.write_bytes(normalised(file.path.read_bytes(), alignment))
    return Job(name, label or name, chains, alignment=path, depth=_rows(alignment))


def _rows(alignment: Alignment) -> int:
    """Return as many rows as the network can get of an alignment."""
    return sum(chain.depth for chain in alignment.chains)


def unpack_alignments(archive: File, folder: Path) -> tuple[File, ...]:
    """Take the alignments out of an untrusted colab.tar, as `colabfold_msa` writes it.

    Nothing else is taken: ColabFold would load pickled alignments, which can hold any program. The
    raw results of a server, below folders `…_env`, `…_all` and the like, are no queries.

    Args:
        archive: The archive, plain or compressed.
        folder: Where to write; names are ours.

    Returns:
        The alignments with their names in the archive.

    Raises:
        InputError: It is no archive, is too large, or holds no alignment.
    """
    target = folder / "unpacked"
    target.mkdir()
    found: list[File] = []
    try:
        with tarfile.open(archive.path, "r:*") as tar:
            for member in _members(tar, archive.label):
                stream = tar.extractfile(member)
                if stream is None:
                    continue
                path = target / f"{len(found):06d}.a3m"
                path.write_bytes(stream.read())
                found.append(File(PurePosixPath(member.name).stem, path))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"The archive {archive.label!r} cannot be read ({error}), give a colab.tar"
        ) from error
    if not found:
        raise InputError(
            f"The archive {archive.label!r} holds no alignment (a file NAME.a3m), give the tar of "
            "colabfold_search or colabfold_msa"
        )
    return tuple(found)


def _members(tar: tarfile.TarFile, label: str) -> Iterator[tarfile.TarInfo]:
    total = 0
    members = []
    for count, member in enumerate(tar, start=1):
        if count > MAX_MEMBERS:
            raise InputError(f"The archive {label!r} holds more than {MAX_MEMBERS} files")
        path = PurePosixPath(member.name)
        if not member.isreg() or path.suffix.lower() != ".a3m" or path.name.startswith("."):
            continue
        total += member.size
        if member.size > MAX_FILE_BYTES or total > MAX_ARCHIVE_BYTES:
            raise InputError(
                f"The alignments in {label!r} take more than {MAX_ARCHIVE_BYTES >> 30} GiB "
                f"together or {MAX_FILE_BYTES >> 20} MiB alone, split the archive"
            )
        members.append((len(path.parts), member))
    # What lies deepest in the archive are a server's raw results.
    level = min((depth for depth, _ in members), default=0)
    yield from (member for depth, member in members if depth == level)
