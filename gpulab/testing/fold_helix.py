"""An ideal α-helix of any sequence, as a PDB file: a template that nobody has measured."""

from __future__ import annotations

import math

THREE_LETTERS = {
    "A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE", "G": "GLY", "H": "HIS",
    "I": "ILE", "K": "LYS", "L": "LEU", "M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN",
    "R": "ARG", "S": "SER", "T": "THR", "V": "VAL", "W": "TRP", "Y": "TYR",
}  # fmt: skip

# Turn and rise of a residue (Pauling et al. 1951), and the atoms of residue 0 in cylinder
# coordinates: distance from the axis in Å, angle in degrees, height in Å.
TURN = 100.0
RISE = 1.5
ATOMS = {
    "N": (1.55, -28.0, -0.90),
    "CA": (2.28, 0.0, 0.0),
    "C": (1.66, 26.0, 1.08),
    "O": (1.90, 23.0, 2.30),
    "CB": (3.30, -18.0, -0.60),
}


def helix_pdb(sequence: str, chain: str = "A") -> str:
    """Return a helix with backbone and β-carbon atoms in the PDB's format.

    Args:
        sequence: The residues in one-letter codes.
        chain: The chain's letter.
    """
    lines: list[str] = []
    for index, letter in enumerate(sequence):
        for atom, (radius, angle, height) in ATOMS.items():
            if atom == "CB" and letter == "G":
                continue
            turned = math.radians(TURN * index + angle)
            x, y = radius * math.cos(turned), radius * math.sin(turned)
            lines.append(
                f"ATOM  {len(lines) + 1:5d}  {atom:<3s} {THREE_LETTERS[letter]} {chain}"
                f"{index + 1:4d}    {x:8.3f}{y:8.3f}{RISE * index + height:8.3f}"
                f"  1.00 50.00           {atom[0]}"
            )
    return "\n".join([*lines, "TER", "END", ""])
