"""The 3D page: whole, without anything from elsewhere, and safe against names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inputs import made_up_fold

from gpulab.fold import view


def content(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    result: dict[str, Any] = json.loads(found[1])
    return result


def test_the_page_holds_everything_and_may_load_nothing(tmp_path: Path) -> None:
    path = tmp_path / "view.html"
    fold = made_up_fold(tmp_path)
    assert view.write_view(path, [fold, replace(fold, name="failed", models=())]) == ""
    page = path.read_text()
    assert "default-src 'none'" in page
    assert (view.STATIC / "view.js").read_text() in page
    assert "://" not in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    data = content(page)
    assert [query["title"] for query in data["queries"]] == ["query: made up"]
    models = data["queries"][0]["models"]
    assert [model["title"] for model in models] == [
        "rank 1: model 3, not relaxed",
        "rank 2: model 1, not relaxed",
    ]
    assert models[0]["pdb"] == fold.best.structure.read_text()
    assert models[0]["scores"] == "mean pLDDT 77.0, pTM 0.50"
    assert data["bands"][0]["colour"] == "#0053D6"


def test_names_cannot_end_the_script(tmp_path: Path) -> None:
    path = tmp_path / "view.html"
    label = "</script><script>alert(1)</script><!--"
    view.write_view(path, [made_up_fold(tmp_path, label=label)])
    page = path.read_text()
    assert "alert(1)</script>" not in page
    assert content(page)["queries"][0]["title"] == f"query: {label}"


def test_too_many_structures_are_cut_to_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = made_up_fold(tmp_path)
    size = fold.best.structure.stat().st_size
    path = tmp_path / "view.html"
    monkeypatch.setattr(view, "MAX_BYTES", size * 3)
    assert "best structure of each query" in view.write_view(path, [fold, fold])
    assert [len(query["models"]) for query in content(path.read_text())["queries"]] == [1, 1]
    monkeypatch.setattr(view, "MAX_BYTES", size)
    assert "first 1 of 3" in view.write_view(path, [fold, fold, fold])
    assert len(content(path.read_text())["queries"]) == 1
