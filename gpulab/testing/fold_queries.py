"""Inputs of the search tool's tests: queries that find known relatives in the tiny database."""

from __future__ import annotations

from pathlib import Path

from gpulab.testing.files import test_file
from gpulab.testing.fold_database import queries

_FAMILIES = queries()
A, B, C = (_FAMILIES[family] for family in "ABC")
# Short enough to be folded within a test, long enough to be found.
SHORT_A, SHORT_B, SHORT_C = A[20:44], B[8:32], C[30:54]


def _register(name: str, text: str) -> None:
    @test_file(f"fold/{name}")
    def write(path: Path) -> None:
        path.write_text(text, encoding="ascii")


_register("family.fasta", f">sp|P00001|FAMA_MADE a made-up protein\n{A}\n")
_register("families.fasta", f">mono first\n{A}\n>cplx\n{A}:{B}:{B}\n>mono\n{C}\n")
_register("families.tabular", f"id\tsequence\tremark\none\t{C}\tx\ntwo\t{A}:{B}\ty\n")
_register("families_bad.fasta", f">good\n{A}\n>bad\nPIA*QIHI\n>bad\n")
_register("short.fasta", f">alpha\n{SHORT_A}\n>beta\n{SHORT_B}\n")
_register("short_one.fasta", f">gamma\n{SHORT_C}\n")
