"""Depth, Neff, identity and coverage, against numbers that can be worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpulab.fold.a3m import parse_a3m
from gpulab.fold.coverage import ChainCoverage, effective_depth, measure, write_coverage
from gpulab.fold.coverage_plot import draw_coverage
from gpulab.fold.queries import Query
from gpulab.report.figures import save_figure


def rows(*texts: str) -> np.ndarray:
    return np.array([list(text.encode()) for text in texts], np.uint8)


def test_neff_by_hand() -> None:
    # The first two share 4 of 5 residues, which is enough to count as one; the third stands alone.
    assert effective_depth(rows("ACDEF", "ACDEG", "WWWWW"))[0] == pytest.approx(2.0)
    assert effective_depth(rows("ACDEF", "ACDGG", "WWWWW"))[0] == pytest.approx(3.0)
    assert effective_depth(rows("ACDEF"))[0] == pytest.approx(1.0)
    assert effective_depth(rows(*["ACDEF"] * 50))[0] == pytest.approx(1.0)


def test_identity_counts_where_either_has_a_residue() -> None:
    # Equal where both have residues, but these are 3 of 5: different sequences.
    assert effective_depth(rows("ACDEF", "ACD--"))[0] == pytest.approx(2.0)
    # Two that share nothing but gaps do not resemble each other.
    assert effective_depth(rows("ACDE", "AC--", "--DE"))[0] == pytest.approx(2.0)


def test_neff_is_the_median_over_the_positions() -> None:
    # Weights 1 each; the positions have 3, 2, 1, 1, 1 sequences.
    assert effective_depth(rows("ACDEF", "AW---", "W----"))[0] == pytest.approx(1.0)
    assert effective_depth(rows("ACDEF", "WWW--", "GGGGG"))[0] == pytest.approx(3.0)


def test_deep_alignments_are_estimated_from_a_sample() -> None:
    random = np.random.default_rng(3)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
    families = letters[random.integers(0, 20, (20, 40))]
    matrix = np.repeat(families, 30, axis=0)
    exact, sampled = effective_depth(matrix)
    assert (exact, sampled) == (pytest.approx(20.0), False)
    estimate, sampled = effective_depth(matrix, max_compared=matrix.size * 200)
    assert sampled
    assert estimate == pytest.approx(20.0, rel=0.2)


def test_table_has_a_row_for_each_chain(tmp_path: Path) -> None:
    text = b"#5,3\t2,1\n>101\t102\nACDEFGHI\n>a\tb\nACDEWGHW\n>101\nACDEF---\n>c\nAC------\n"
    alignment = parse_a3m(text, "x")
    numbers = measure(alignment)
    bad = ChainCoverage(note="The query 'bad' has no sequence")
    query = Query("q", 'a "label"', alignment.sequences)
    write_coverage(tmp_path / "t", [(query, numbers), (Query("bad", "bad", ("",)), [bad])])
    with (tmp_path / "t").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [row["chain"] for row in table] == ["A", "C", ""]
    assert [row["copies"] for row in table] == ["2", "1", "0"]
    assert [row["depth"] for row in table] == ["3", "2", "0"]
    assert [row["paired"] for row in table] == ["1", "1", "0"]
    assert [row["mean_identity"] for row in table] == ["0.900", "0.667", "NaN"]
    assert [row["mean_coverage"] for row in table] == ["0.700", "1.000", "NaN"]
    assert [row["shallow_residues"] for row in table] == ["5", "3", "0"]
    assert table[2]["note"] == "The query 'bad' has no sequence"
    assert table[0]["label"] == "a 'label'"


def test_a_query_alone_has_no_identity() -> None:
    (number,) = measure(parse_a3m(b">q\nACDEF\n", "x"))
    assert (number.depth, number.neff) == (1, 1.0)
    assert np.isnan(number.mean_identity)
    assert number.note == "no other sequence"


@pytest.mark.parametrize("chains", [1, 2, 5])
def test_pictures(tmp_path: Path, chains: int) -> None:
    header = f"#{','.join(['5'] * chains)}\t{','.join(['1'] * chains)}\n"
    text = header + ">101\n" + "ACDEF" * chains + "\n>hit\n" + "AC-EY" * chains + "\n"
    alignment = parse_a3m(text.encode(), "x")
    figure = draw_coverage("$x_y^ \\bad", alignment, measure(alignment))
    save_figure(figure, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width >= 700
        # It has the colours of both rows, not a single one.
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
