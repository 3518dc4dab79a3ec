"""The whole tool without Galaxy: real searches in the tiny database."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from colabfold.input import get_queries
from PIL import Image

from gpulab.errors import InputError
from gpulab.fold.a3m import read_a3m
from gpulab.fold.databases import Databases
from gpulab.fold.search_options import server_search
from gpulab.testing.fold_database import queries
from gpulab.testing.fold_server import serving

TOOL = Path(__file__).resolve().parents[2] / "tools" / "colabfold" / "colabfold_search.py"
A, B, C = (queries()[family] for family in "ABC")
EVERYTHING = ["coverage_plots", "colab_tar", "af3_json", "report"]
BAD_STAR = (
    "The query 'bad' holds '*' at position 4, which is a stop codon in the middle, give the "
    "protein up to it"
)
BAD_END = (
    "2 of 3 queries have no alignment (bad, bad_2), see the sentence on each above, the results "
    "of the others are kept"
)
PAIRING = {"mode": "unpaired_paired", "strategy": "greedy"}


def local(search: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "local",
        "database": "tiny",
        "environmental": True,
        "templates": False,
        "filtered": True,
        "pairing": PAIRING,
        "search": {"prefilter": "1", "sensitivity": None, "device": "cpu", **(search or {})},
        **changes,
    }


class Tool:
    """Runs the tool in a folder of its own, as Galaxy does."""

    def __init__(self, folder: Path, database: Databases) -> None:
        self.folder = folder
        self.row = {
            "name": "Tiny",
            "version": "1",
            "kinds": "clusters,pairing,environmental,templates",
            "path": str(database.path),
            "uniref": database.uniref,
            "environmental": database.environmental,
            "templates": database.templates,
        }
        self.server: dict[str, str] = {}
        self.seconds = 0.0

    def run(
        self, text: str, way: dict[str, Any], outputs: list[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        params = {"sequences": {"kind": "text", "text": text}, "way": way, "outputs": outputs or []}
        (self.folder / "params.json").write_text(json.dumps(params))
        tables = {"database": self.row, "server": self.server}
        (self.folder / "tables.json").write_text(json.dumps(tables))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(TOOL), "--params", "params.json"],
            cwd=self.folder,
            env={"PYTHONPATH": str(TOOL.parents[2]), "PATH": "/usr/bin:/bin", "HOME": "."},
            capture_output=True,
            text=True,
            check=False,
        )
        self.seconds = time.monotonic() - started
        (self.folder / "params.json").unlink()
        (self.folder / "tables.json").unlink()
        return done

    def names(self, folder: str = ".") -> list[str]:
        paths = (self.folder / folder).iterdir()
        # Matplotlib's cache is no output.
        return sorted(path.name for path in paths if not path.name.startswith("."))

    def table(self) -> list[dict[str, str]]:
        with (self.folder / "coverage.tabular").open() as file:
            return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def tool(tmp_path: Path, database: Databases) -> Tool:
    return Tool(tmp_path, database)


def test_everything_of_a_monomer_and_a_complex(tool: Tool, tmp_path: Path) -> None:
    text = f">mono first\n{A}\n>cplx\n{A}:{B}:{B}\n>mono\n{C}\n"
    done = tool.run(text, local(templates=True), EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    names = ["cplx", "mono", "mono_2"]
    assert tool.names() == [
        *("a3m", "af3_json", "colab.tar", "coverage", "coverage.tabular", "hits"),
        *("overview.png", "report.md"),
    ]
    assert tool.names("a3m") == [f"{name}.a3m" for name in names]
    assert tool.names("coverage") == [f"{name}.png" for name in names]
    assert tool.names("hits") == [f"{name}.tabular" for name in names]
    rows = {(row["query"], row["chain"]): row for row in tool.table()}
    assert list(rows) == [("mono", "A"), ("cplx", "A"), ("cplx", "B"), ("mono_2", "A")]
    # Twelve members of the family, eight distant ones, and the query itself.
    assert int(rows["mono", "A"]["depth"]) >= 21
    assert rows["mono", "A"]["label"] == "mono first"
    assert rows["mono", "A"]["paired"] == "0"
    assert 5 < float(rows["mono", "A"]["neff"]) <= 21
    assert 0.5 < float(rows["mono", "A"]["mean_identity"]) < 0.95
    assert rows["cplx", "A"]["paired"] == "12"
    assert rows["cplx", "B"]["copies"] == "2"
    assert rows["cplx", "B"]["residues"] == str(len(B))
    alignment = read_a3m(tmp_path / "a3m" / "cplx.a3m", "cplx")
    assert alignment.sequences == (A, B, B)
    # Only family A has a template.
    assert "9xyz_A" in (tmp_path / "hits" / "mono.tabular").read_text()
    assert (tmp_path / "hits" / "mono_2.tabular").read_text() == ""
    af3 = json.loads((tmp_path / "af3_json" / "cplx.json").read_text())
    assert (af3["dialect"], af3["version"], af3["name"]) == ("alphafold3", 2, "cplx")
    assert [chain["protein"]["id"] for chain in af3["sequences"]] == [["A"], ["B", "C"]]
    assert af3["sequences"][0]["protein"]["pairedMsa"].count(">") >= 13
    with tarfile.open(tmp_path / "colab.tar") as archive:
        assert sorted(archive.getnames()) == [f"output.colab/{name}.a3m" for name in names]
    # What colabfold_alphafold of tools-iuc does with it before it folds.
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    command = ["tar", "-xmf", "colab.tar", "--strip-components", "1", "-C", "unpacked"]
    subprocess.run(command, cwd=tmp_path, check=True)
    read, is_complex = get_queries(unpacked, None)
    assert [(name, chains) for name, chains, _, _ in read] == [
        ("cplx", A + B),
        ("mono", A),
        ("mono_2", C),
    ]
    assert is_complex
    report = (tmp_path / "report.md").read_text()
    assert "3 of 3 queries have an alignment" in report
    assert "no sequence left this Galaxy" in report
    assert 'history_dataset_as_image(output="overview")' in report
    assert 'history_dataset_as_table(output="coverage"' in report
    with Image.open(tmp_path / "overview.png") as picture:
        assert picture.width > 500
    for line in ("3 queries: 2 single chains, 1 complex", "searching: clustered sequences"):
        assert line in done.stdout
    assert "pairing the chains" in done.stdout
    assert "Found for cplx: chain A: depth" in done.stdout


def test_kmer_search_finds_the_same(tool: Tool) -> None:
    done = tool.run(f">a\n{A}\n", local({"prefilter": "0", "sensitivity": 4}, environmental=False))
    assert done.returncode == 0, done.stderr
    assert tool.names() == ["a3m", "coverage.tabular"]
    assert tool.table()[0]["depth"] == "13"


@pytest.mark.parametrize(("mode", "paired"), [("paired", "12"), ("unpaired", "0")])
def test_pair_modes_leave_monomers_alone(tool: Tool, mode: str, paired: str) -> None:
    way = local(pairing={"mode": mode, "strategy": "complete"}, environmental=False)
    done = tool.run(f">m\n{C}\n>c\n{A}:{B}\n", way)
    assert done.returncode == 0, done.stderr
    rows = tool.table()
    assert int(rows[0]["depth"]) >= 13
    assert [row["paired"] for row in rows] == ["0", paired, paired]
    alignment = read_a3m(tool.folder / "a3m" / "c.a3m", "c")
    assert alignment.query_first
    assert alignment.sequences == (A, B)
    # ColabFold itself finds both chains, and as many pairs.
    text = (tool.folder / "a3m" / "c.a3m").read_text()
    from colabfold.batch import unserialize_msa

    unpaired, pairs, chains, copies, _ = unserialize_msa([text], A + B)
    assert (chains, copies) == ([A, B], [1, 1])
    assert [part.count(">") - 1 for part in pairs] == [int(paired)] * 2
    assert all(part.count(">") > 0 for part in unpaired) == (mode == "unpaired")


def test_without_a_search(tool: Tool) -> None:
    done = tool.run(f">m\n{C}\n>c\n{A}:{B}\n", {"kind": "none"}, EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert (tool.folder / "a3m" / "m.a3m").read_text() == f"#{len(C)}\t1\n>101\n{C}\n"
    assert (
        (tool.folder / "a3m" / "c.a3m")
        .read_text()
        .startswith(f"#{len(A)},{len(B)}\t1,1\n>101\t102\n{A}{B}\n")
    )
    assert [row["neff"] for row in tool.table()] == ["1.0"] * 3
    assert "Nothing was searched" in (tool.folder / "report.md").read_text()


def test_one_bad_query_ends_red_and_the_others_are_kept(tool: Tool) -> None:
    text = f">good\n{A}\n>bad\nPIA*QIHI\n>bad\n\n"
    done = tool.run(text, local(environmental=False), EVERYTHING)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        BAD_STAR,
        "The query 'bad' has no sequence, give its residues or leave it out",
        BAD_END,
    ]
    assert tool.names("a3m") == ["good.a3m"]
    assert [row["depth"] for row in tool.table()] == ["13", "0", "0"]
    assert "stop codon" in tool.table()[1]["note"]
    assert "stop codon" in (tool.folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("row", "way", "message"),
    [
        ({"path": "/nowhere"}, {}, "is not complete on this server, tell the administrator"),
        ({"uniref": "x"}, {}, "is not complete on this server"),
        ({"templates": ""}, {"templates": True}, "has no sequences of known structures"),
        ({}, {"search": {"device": "gpu"}}, "is not prepared for a search on a GPU"),
        ({"kinds": "clusters"}, {"pairing": {"mode": "paired", "strategy": "greedy"}}, "organisms"),
        ({"path": ""}, {}, "No database is chosen"),
    ],
)
def test_databases_that_do_not_fit(
    tool: Tool, row: dict[str, str], way: dict[str, Any], message: str
) -> None:
    tool.row.update(row)
    done = tool.run(f">a\n{A}\n", local(**way), EVERYTHING)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tool.names() == []
    assert tool.seconds < 3


def test_what_the_database_lacks_is_left_out_and_told(tool: Tool) -> None:
    tool.row.update({"kinds": "clusters", "environmental": "-"})
    done = tool.run(f">c\n{A}:{B}\n", local(), ["report"])
    assert done.returncode == 0, done.stderr
    assert tool.table()[0]["paired"] == "0"
    report = (tool.folder / "report.md").read_text()
    assert "The database Tiny has no environmental sequences" in report
    assert "chains were not paired" in report


def test_a_broken_database_is_one_sentence(tool: Tool, tmp_path: Path, database: Databases) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in database.path.iterdir():
        if path.is_file() and not path.name.endswith("_seq.index"):
            (broken / path.name).symlink_to(path)
    tool.row["path"] = str(broken)
    done = tool.run(f">a\n{A}\n", local())
    assert done.returncode == 2
    assert "The query 'a' has no alignment: MMseqs2 could not search the database" in done.stderr
    assert "Traceback" not in done.stderr


def test_server(tool: Tool, database: Databases) -> None:
    with serving(database.path) as stand_in:
        tool.server = {"name": "Stand-in", "url": f"{stand_in.url}/", "note": "For tests only."}
        way = {"kind": "server", "environmental": False, "templates": True, "filtered": True}
        done = tool.run(f">a\n{A}\n", {**way, "server": "x", "pairing": PAIRING}, EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert tool.table()[0]["depth"] == "13"
    assert tool.names("hits") == ["a.tabular"]
    report = (tool.folder / "report.md").read_text()
    assert "The sequences left this Galaxy" in report
    assert "For tests only." in report
    assert f"Query 1 of 1, a: sent to {stand_in.url}" in done.stdout


def test_no_server_is_asked_that_is_not_registered(tool: Tool) -> None:
    way = {"kind": "server", "environmental": False, "templates": False, "filtered": True}
    done = tool.run(f">a\n{A}\n", {**way, "server": None, "pairing": PAIRING})
    assert done.returncode == 2
    assert "No MSA server is registered on this Galaxy" in done.stderr


def test_how_long_a_server_may_take_is_the_administrators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    way = {"environmental": True, "filtered": True, "templates": False}
    row = {"name": "x", "url": "https://msa.example.org/"}
    assert server_search(way, row).patience == 240 * 60
    monkeypatch.setenv("COLABFOLD_SERVER_MINUTES", "5")
    assert server_search(way, row).patience == 300
    monkeypatch.setenv("COLABFOLD_SERVER_MINUTES", "soon")
    with pytest.raises(InputError, match="tell the administrator"):
        server_search(way, row)
    with pytest.raises(InputError, match="No MSA server"):
        server_search(way, {"name": "x", "url": "file:///etc"})


def test_input_errors_answer_at_once(tool: Tool) -> None:
    done = tool.run("", {"kind": "none"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "The sequences 'pasted text' are empty, give at least one sequence\n"
    assert tool.seconds < 3
