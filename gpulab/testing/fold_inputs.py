"""Inputs of the folding tool's tests: sequences, alignments, a template and a tar."""

from __future__ import annotations

import io
import math
import tarfile
from pathlib import Path

from gpulab.fold.cif import THREE_LETTERS
from gpulab.testing.files import test_file

ALPHA = "PIAQIHILEGRSDEQK"
BETA = "GAVLIKDESTNQ"
# Relatives of the two, aligned: dashes are gaps, lower-case letters insertions.
ALPHA_RELATIVES = ("PIAQIHILDGRSDEQK", "PVAEIHVLEGRT--QK", "-IAQLHILEGkrRSDEQR")
BETA_RELATIVES = ("GAVLIRDESTNQ", "GSVLLKDEST-Q")

# Places of the atoms of an ideal alpha helix: radius in Å, angle in degrees, height in Å; 1.5 Å and
# 100° from residue to residue (Arnott and Dover 1967).
_HELIX = {
    "N": (1.55, -28.0, -0.90),
    "CA": (2.28, 0.0, 0.0),
    "C": (1.66, 26.0, 1.08),
    "O": (1.90, 23.0, 2.30),
    "CB": (3.30, -18.0, -0.60),
}
_RISE, _TURN = 1.5, 100.0


def alignment(query: str, relatives: tuple[str, ...]) -> str:
    """Return an alignment in a3m with ColabFold's first line."""
    rows = [f">101\n{query}", *(f">relative_{i}\n{row}" for i, row in enumerate(relatives, 1))]
    return f"#{len(query)}\t1\n" + "\n".join(rows) + "\n"


def helix(sequence: str) -> str:
    """Return an ideal alpha helix as PDB, with backbone and beta carbons."""
    lines = ["HEADER    MADE-UP HELIX"]
    for position, letter in enumerate(sequence):
        for name, (radius, angle, height) in _HELIX.items():
            if name == "CB" and letter == "G":
                continue
            turned = math.radians(_TURN * position + angle)
            x, y = radius * math.cos(turned), radius * math.sin(turned)
            z = _RISE * position + height
            lines.append(
                f"ATOM  {len(lines):5d}  {name:<3s} {THREE_LETTERS[letter]} A{position + 1:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00 50.00           {name[0]}"
            )
    return "\n".join([*lines, "TER", "END", ""])


@test_file("fold/msas.tar")
def write_tar(path: Path) -> None:
    """Write a colab.tar as the tool colabfold_msa writes it, with what must not be read from it."""
    members = {
        "output.colab/galaxy_0.a3m": alignment(ALPHA, ALPHA_RELATIVES).encode(),
        "output.colab/galaxy_1.a3m": alignment(BETA, BETA_RELATIVES).encode(),
        "output.colab/galaxy_0.pickle": b"a program that nobody may run",
        "output.colab/galaxy_0_env/uniref.a3m": b">101\nAAAA\n\0",
        "output.colab/log.txt": b"a log\n",
    }
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _register(name: str, text: str) -> None:
    @test_file(f"fold/{name}")
    def write(path: Path) -> None:
        path.write_text(text, encoding="ascii")


_register("chain.fasta", f">alpha a made-up chain\n{ALPHA}\n")
_register("complex.fasta", f">pair\n{ALPHA[:8]}:{BETA[:8]}:{ALPHA[:8]}\n")
_register("three.fasta", f">good\n{BETA}\n>bad\n{BETA[:6]}1{BETA[6:]}\n>good\n{ALPHA[:10]}\n")
_register("alpha.a3m", alignment(ALPHA, ALPHA_RELATIVES))
_register("beta.a3m", alignment(BETA, BETA_RELATIVES))
_register("broken.a3m", f">query\n{ALPHA}\n>too_long\n{ALPHA}{ALPHA}\n")
_register("helix.pdb", helix(ALPHA))
