"""The report stays within what Galaxy shows, whatever the names are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from inputs import DATA, dataset, form, made_up_fold, text

from gpulab.fold.options import options_of
from gpulab.fold.report import write_report
from gpulab.fold.run import Outcome
from gpulab.fold.scores import Fold

SHOWN_BYTES = 10 * 1024
HOSTILE = "*`${oops}`* <b>[x](y)</b> | ``` " * 6


def test_many_queries_with_hostile_names_fit(tmp_path: Path) -> None:
    template = dataset(DATA / "helix.pdb") | {"element_identifier": HOSTILE}
    templates = {
        "kind": "custom", "template_files": [template] * 30, "max_hits": 1, "max_date": "",
    }  # fmt: skip
    options = options_of(form(tmp_path, text("PIAQ"), templates=templates), tmp_path)
    folded = replace(made_up_fold(tmp_path, label=HOSTILE), name="n" * 60)
    failed = Fold("bad", HOSTILE, (), note=f"The query {HOSTILE[:80]!r} {'was not folded ' * 40}")
    outcome = Outcome([folded] * 100 + [failed] * 50, "CPU", False, {}, {})
    path = tmp_path / "report.md"
    facts = {"Versions": "x" * 300, "Device": "CPU"}
    write_report(path, tmp_path / "overview.png", outcome, options, facts, ["Slow."] * 5)
    report = path.read_text()
    assert len(report.encode()) < SHOWN_BYTES
    assert report.count("```galaxy") == 2
    assert "The other 80 are in the table of scores." in report
    assert "47 more, see the column note" in report
    assert "${oops}" not in report
    assert "doi.org/10.1038/s41592-022-01488-1" in report
