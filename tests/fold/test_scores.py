"""Reading ColabFold's scores, and the tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from inputs import made_up_fold, write_scores

from gpulab.fold import scores, scores_table
from gpulab.fold.scores import Fold, OutputError, read_models


def test_models_come_by_rank_with_the_times_of_the_log(tmp_path: Path) -> None:
    write_scores(tmp_path, 2, 1)
    relaxed = write_scores(tmp_path, 1, 3)
    relaxed.with_name(relaxed.name.replace("unrelaxed", "relaxed")).write_text("ATOM\n")
    timings = {"alphafold2_ptm_model_3_seed_000": (1.5, 3)}
    first, second = read_models(tmp_path, "q0001", 4, timings)
    assert (first.rank, first.model, first.seconds, first.recycles) == (1, 3, 1.5, 3)
    assert first.mean_plddt == 75
    assert first.relaxed is not None
    assert first.best_structure == first.relaxed
    assert (second.rank, second.model, second.recycles) == (2, 1, -1)
    assert math.isnan(second.seconds)
    assert second.best_structure == second.structure


def test_another_query_whose_name_begins_alike_is_left_alone(tmp_path: Path) -> None:
    write_scores(tmp_path, 1, 3)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("q0001_", "q0001_x_")))
    with pytest.raises(OutputError, match="no structure of rank 1"):
        read_models(tmp_path, "q0001", 4, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plddt": []}, "no usable pLDDT"),
        ({"plddt": [math.nan] * 4}, "no usable pLDDT"),
        ({"plddt": [50.0] * 5}, "5 residues instead of 4"),
    ],
)
def test_damaged_scores_are_told(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_scores(tmp_path, 1, 3, **changes)
    with pytest.raises(OutputError, match=message):
        read_models(tmp_path, "q0001", 4, {})


def test_truncated_json_is_told(tmp_path: Path) -> None:
    write_scores(tmp_path, 1, 3)
    path = next(tmp_path.glob("*.json"))
    path.write_text(path.read_text()[:20])
    with pytest.raises(OutputError, match="damaged"):
        read_models(tmp_path, "q0001", 4, {})


def test_an_empty_structure_is_none(tmp_path: Path) -> None:
    write_scores(tmp_path, 1, 3).write_text("")
    with pytest.raises(OutputError, match="no structure of rank 1"):
        read_models(tmp_path, "q0001", 4, {})


def test_networks_without_pae_have_no_numbers_for_it(tmp_path: Path) -> None:
    write_scores(tmp_path, 1, 3)
    next(tmp_path.glob("*.json")).write_text('{"plddt": [1, 2, 3, 4]}')
    model = read_models(tmp_path, "q0001", 4, {})[0]
    assert model.pae is None
    assert math.isnan(model.max_pae)
    row = scores_table.model_rows([Fold("q", "q", ("PIAQ",), (model,), 1)])[0]
    values = dict(zip(scores_table.MODEL_COLUMNS, row, strict=True))
    assert values["ptm"] == values["max_pae"] == values["ipsae"] == "NaN"


def test_copies_of_a_chain_come_one_after_the_other() -> None:
    assert scores.folded_chains(("AA", "CC", "AA")) == ("AA", "AA", "CC")


def test_the_best_pair_counts() -> None:
    assert scores_table.best_pair({"A-B": 0.1, "B-A": 0.4}) == 0.4
    assert math.isnan(scores_table.best_pair({}))


def test_a_failed_query_has_a_row_with_the_reason(tmp_path: Path) -> None:
    folds = [made_up_fold(tmp_path), Fold("bad", "bäd", ("PIA",), note="The reason")]
    rows = [
        dict(zip(scores_table.MODEL_COLUMNS, row, strict=True))
        for row in scores_table.model_rows(folds)
    ]
    assert [row["query"] for row in rows] == ["query", "query", "bad"]
    assert rows[2]["rank"] == "NaN"
    assert rows[2]["note"] == "The reason"
    assert rows[0]["note"] == ""


def test_residues_are_numbered_by_chain_and_through(tmp_path: Path) -> None:
    fold = made_up_fold(tmp_path, chains=("PIAQ", "IHI"))
    rows = list(scores_table.residue_rows([fold]))
    assert len(rows) == 14
    assert rows[4] == ("query", "1", "3", "0", "B", "1", "5", "I", "79.00")


def test_tables_keep_quotes_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "table.tabular"
    scores_table.write_table(path, ("a", "b"), [('say "so"', "it's")])
    assert path.read_text() == 'a\tb\nsay "so"\tit\'s\n'
