"""Alignments: what ColabFold and MMseqs2 write, what is none, and what comes out of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.fold.a3m import Alignment, normalised, parse_a3m, read_a3m

MONOMER = b">101\nACDEF\n>hit one\nAC-EF\n>hit2\n-cCDxxEY\n"
COMPLEX = (
    b"#5,3\t1,2\n>101\t102\nACDEFGHI\n>hitA\thitB\nACDE-GH-\n"
    b">101\nACDEF---\n>hitA\t93\t0.8\nACDE----\n>other\n--DEF---\n>102\n-----GHI\n>hitB\t7\t0.1\n-----GH-\n>lone\n-----G-I"
)
UNPAIRED = b"#5,3\t1,1\n>101\nACDEF---\n>x\nAC-EF---\n>102\n-----GHI\n>y\n-----G-I\n"


def depths(alignment: Alignment) -> list[int]:
    return [chain.depth for chain in alignment.chains]


def test_monomer_without_header() -> None:
    alignment = parse_a3m(MONOMER.replace(b"-cCDxxEY\n", b"-cCDxxEY\n\0"), "m")
    assert alignment.sequences == ("ACDEF",)
    assert depths(alignment) == [3]
    assert not alignment.has_header
    rows = [bytes(row) for row in alignment.chains[0].rows]
    assert rows == [b"ACDEF", b"AC-EF", b"-CDEY"]


def test_complex_counts_each_sequence_of_a_chain_once() -> None:
    alignment = parse_a3m(COMPLEX, "c")
    assert alignment.sequences == ("ACDEF", "GHI", "GHI")
    # For the first chain the query, hitA (paired and alone: the same residues) and `other`.
    assert depths(alignment) == [3, 3]
    assert alignment.paired == 1
    assert alignment.query_first


def test_unpaired_complex_gets_a_row_of_all_chains() -> None:
    alignment = parse_a3m(UNPAIRED, "u")
    assert alignment.sequences == ("ACDEF", "GHI")
    assert depths(alignment) == [2, 2]
    assert not alignment.query_first
    text = normalised(UNPAIRED, alignment)
    assert text.startswith(b"#5,3\t1,1\n>101\t102\nACDEFGHI\n>101\nACDEF---\n")
    again = parse_a3m(text, "u")
    assert again.query_first
    assert depths(again) == [2, 2]
    assert again.paired == 0


def test_header_is_added_and_nothing_else() -> None:
    text = normalised(MONOMER + b"\0", parse_a3m(MONOMER, "m"))
    assert text == b"#5\t1\n" + MONOMER
    assert normalised(text, parse_a3m(text, "m")) == text


def test_a_comment_of_other_programs_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "x.a3m"
    path.write_bytes(b"#A3M#\r\n>q\r\nACD\r\nEF\r\n")
    assert read_a3m(path, "x").sequences == ("ACDEF",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sequence"),
        (b"#5\t1\n", "holds no sequence"),
        (b"ACDEF\n", "Line 1 of the alignment 'file' stands before the first name"),
        (b">a\nACDEF\n>b\nACDE\n", "is no alignment: its sequence 2, 'b', has 4 positions"),
        (b">a\n>b\nACDE\n", "'a' in the alignment 'file' is empty"),
        (b">a\nAC.EF\n", "holds '.', in a3m there are letters and dashes alone"),
        (b">a\nAC\xffEF\n", "letters and dashes alone"),
        (b">a\nAC-EF\n", "must be the query, with the residues of its chain 1"),
        (b">a\nACBEF\n", "must be the query"),
        (b"#4\t1\n>a\nACDEF\n", "the query has 4 residues, but its first sequence has 5"),
        (b"#5,0\t1,1\n>a\nACDEF\n", "must give the lengths and the copies"),
        (b"#5\t1,1\n>a\nACDEF\n", "must give the lengths and the copies"),
        (b"#5\tx\n>a\nACDEF\n", "must give the lengths and the copies"),
        (b"#5\t63\n>a\nACDEF\n", "at most 62 chains"),
        (b"#" + b"9" * 5000 + b"\t1\n>a\nACDEF\n", "must give the lengths"),
        (b"#3,2\t1,1\n>a\nACD--\n", "of its chain 2"),
    ],
)
def test_what_is_no_alignment(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        parse_a3m(content, "file")
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=200) | st.text("ACD-acd>#\n\t01,", max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        alignment = parse_a3m(content, "file")
    except InputError as refused:
        assert str(refused).isprintable()
        return
    again = parse_a3m(normalised(content, alignment), "file")
    assert again.sequences == alignment.sequences
    assert depths(again) == depths(alignment)
    assert again.has_header
    assert again.query_first
