"""Archives for the data manager of weights: one tiny complete set, and others with a flaw."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from gpulab.fold.weights import MODEL_TYPES, MODELS
from gpulab.testing.files import test_file

TINY_TYPE = "alphafold2_multimer_v3"


def tiny_npz(number: int) -> bytes:
    """Return a file of weights that holds a single number."""
    memory = io.BytesIO()
    np.savez(memory, **{"alphafold/nothing//weights": np.float32(number)})  # type: ignore[arg-type]
    return memory.getvalue()


def tiny_set(numbers: Iterable[int] = MODELS) -> dict[str, bytes]:
    """Return the files of a set for complexes, by their names."""
    pattern = MODEL_TYPES[TINY_TYPE].pattern
    return {pattern.format(number): tiny_npz(number) for number in numbers}


def write_archive(path: Path, files: Mapping[str, bytes], links: Mapping[str, str] = {}) -> None:
    """Write a tar archive that is the same whenever it is written.

    Args:
        path: The archive.
        files: Content by name.
        links: Targets of symbolic links by name.
    """
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@test_file("fold/weights_tiny.tar")
def write_tiny(path: Path) -> None:
    """Write a complete set with what published archives hold besides."""
    more = {"./LICENSE": b"made-up numbers for tests\n", "notes.txt": b"not taken\n"}
    write_archive(path, {f"./{name}": content for name, content in tiny_set().items()} | more)


@test_file("fold/weights_cut.tar")
def write_cut(path: Path) -> None:
    """Write an archive of which the end is missing."""
    write_tiny(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


@test_file("fold/weights_four.tar")
def write_four(path: Path) -> None:
    """Write an archive that lacks the fifth model."""
    write_archive(path, tiny_set(MODELS[:4]))


@test_file("fold/weights_link.tar")
def write_link(path: Path) -> None:
    """Write an archive that would replace a file elsewhere through a link."""
    write_archive(path, tiny_set(), {"params_model_1_multimer_v3.npz": "../../../elsewhere"})
