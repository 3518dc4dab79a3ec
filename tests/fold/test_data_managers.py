"""The data managers as a job runs them: what is written when all is well, and when it is not."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from file_host import Host

from gpulab.errors import InputError
from gpulab.fold import weights_job as job
from gpulab.fold.databases import Databases, check_databases
from gpulab.fold.databases_job import databases_job
from gpulab.fold.fetch import sum_of
from gpulab.fold.table_rows import one_line, row_value
from gpulab.fold.weights import MODEL_TYPES, model_types_in
from gpulab.fold.weights_job import KEPT, weights_job
from gpulab.fold.weights_sets import WEIGHTS_SETS
from gpulab.jobs import OutputFolder
from gpulab.testing import fold_database as tiny
from gpulab.testing.fold_archives import tiny_npz, tiny_set, write_archive

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_archive(tmp_path / "set.tar", tiny_set() | {"LICENSE": b"none\n", "more.npz": b"x"})
    return tmp_path / "set.tar"


def from_addresses(*paths: Path, sha256: str = "", name: str = "Mine") -> dict[str, Any]:
    urls = "\n".join(path.as_uri() for path in paths)
    form = {"kind": "address", "urls": urls, "version": "1", "licence": "none"}
    return {"source": form, "name": name, "sha256": sha256}


def published(key: str, mirror: Path) -> dict[str, Any]:
    form = {"kind": "published", "set": key, "mirror": mirror.as_uri()}
    return {"source": form, "name": "", "sha256": ""}


def run(params: dict[str, Any], folder: Path, job: Any = weights_job) -> dict[str, str]:
    with OutputFolder(folder) as outputs:
        job(params, outputs)
    content = json.loads((folder / "data_manager.json").read_text("utf-8"))
    ((_, rows),) = content["data_tables"].items()
    (row,) = rows
    assert all(isinstance(value, str) and "\t" not in value for value in row.values())
    return dict(row)


def refuse(params: dict[str, Any], folder: Path, message: str, job: Any = weights_job) -> None:
    with pytest.raises(InputError, match=message):
        run(params, folder, job)
    assert list(folder.iterdir()) == []


def test_a_set_is_fetched_unpacked_marked_and_named(archive: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    row = run(from_addresses(archive, sha256=sum_of(archive)), made)
    assert row == {
        "value": row_value("Mine 1", [sum_of(archive)]),
        "name": "Mine",
        "version": "1",
        "model_types": "alphafold2_multimer_v3",
        "path": "weights",
        "licence": "none",
    }
    weights = made / "files" / "weights"
    kind = MODEL_TYPES["alphafold2_multimer_v3"]
    assert {path.name for path in (weights / "params").iterdir()} == {
        *kind.files(),
        kind.marker,
        "LICENSE",
    }
    assert model_types_in(weights) == ["alphafold2_multimer_v3"]
    (file,) = json.loads((weights / "sources.json").read_text("utf-8"))["files"]
    assert (file["size"], file["sha256"]) == (archive.stat().st_size, sum_of(archive))


def test_single_files_make_a_set(tmp_path: Path) -> None:
    kind = MODEL_TYPES["deepfold_v1"]
    for number, name in enumerate(kind.files()):
        (tmp_path / name).write_bytes(tiny_npz(number))
    row = run(published("deepfold_v1", tmp_path), tmp_path / "made")
    assert row["model_types"] == "deepfold_v1"
    assert row["licence"] == WEIGHTS_SETS["deepfold_v1"].licence
    refuse(published("deepfold_v1", tmp_path / "made"), tmp_path / "again", "cannot be read")


def test_datasets_of_the_history(archive: Path, tmp_path: Path) -> None:
    data = shutil.copyfile(archive, tmp_path / "dataset_1.dat")
    dataset = {"element_identifier": "my weights", "ext": "tar", "source_path": str(data)}
    form = {"kind": "datasets", "files": [dataset], "version": "1", "licence": "none"}
    row = run({"source": form, "name": "Mine", "sha256": None}, tmp_path / "made")
    assert row["model_types"] == "alphafold2_multimer_v3"


def test_npz_datasets_get_their_ending(tmp_path: Path) -> None:
    files = []
    for name, content in tiny_set().items():
        (tmp_path / f"{name}.dat").write_bytes(content)
        path = str(tmp_path / f"{name}.dat")
        identifier = name.removesuffix(".npz")
        files.append({"element_identifier": identifier, "ext": "npz", "source_path": path})
    form = {"kind": "datasets", "files": files, "version": "1", "licence": "none"}
    row = run({"source": form, "name": "Mine", "sha256": ""}, tmp_path / "made")
    assert row["model_types"] == "alphafold2_multimer_v3"


def test_a_published_set_of_another_size_is_refused(archive: Path, tmp_path: Path) -> None:
    archive.rename(tmp_path / "alphafold_params_colab_2022-12-06.tar")
    refuse(published("multimer_v3", tmp_path), tmp_path / "made", "where 4099624960 were expected")


def test_a_published_set_must_hold_its_own_type(archive: Path, tmp_path: Path) -> None:
    archive.rename(tmp_path / "alphafold_params_colab_2022-03-02.tar")
    params = published("multimer_v2", tmp_path)
    refuse(params, tmp_path / "made", r"params_model_1_multimer_v2\.npz is missing")


def test_a_wrong_sum_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    params = from_addresses(archive, sha256="f" * 64)
    refuse(params, tmp_path / "made", f"has the SHA-256 {sum_of(archive)} where")


def test_an_archive_that_was_cut_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:3000])
    refuse(from_addresses(archive), tmp_path / "made", "no complete tar archive|of no type")


def test_an_incomplete_set_leaves_nothing(tmp_path: Path) -> None:
    write_archive(tmp_path / "set.tar", tiny_set((1, 2, 3, 4)))
    refuse(from_addresses(tmp_path / "set.tar"), tmp_path / "made", "the five models of no type")


def test_a_file_that_is_no_array_leaves_nothing(tmp_path: Path) -> None:
    write_archive(tmp_path / "set.tar", tiny_set() | {"params_model_2_multimer_v3.npz": b"<html>"})
    refuse(from_addresses(tmp_path / "set.tar"), tmp_path / "made", "no NumPy archive")


def test_a_set_that_unpacks_to_too_much_leaves_nothing(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "LARGEST", 100)
    refuse(from_addresses(archive), tmp_path / "made", "unpacks to more than")


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deepfold_model_1.npz").write_bytes(tiny_npz(1))
    twice = [tmp_path / "deepfold_model_1.npz"] * 2
    refuse(from_addresses(*twice), tmp_path / "made", "was given twice")


@pytest.mark.parametrize("sha256", ["abc", "g" * 64, f"{'0' * 64} {'0' * 64}"])
def test_malformed_sums_are_refused(archive: Path, tmp_path: Path, sha256: str) -> None:
    refuse(from_addresses(archive, sha256=sha256), tmp_path / "made", "as many SHA-256 sums")


@pytest.mark.parametrize("name", ["", "two\nlines", "a\ttab", "\x1b[31m"])
def test_a_name_that_would_break_the_table_is_refused(
    archive: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="write one line of text"):
        run(from_addresses(archive, name=name), tmp_path / "made")


def test_an_interrupted_download_waits_for_the_next_job(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    monkeypatch.setenv(KEPT, str(tmp_path / "kept"))
    monkeypatch.setattr("gpulab.fold.fetch.time.sleep", lambda seconds: None)
    host.content = archive.read_bytes()
    half = len(host.content) // 2
    host.breaks = [half, 0, 0, 0, 0]
    params = from_addresses(archive)
    params["source"]["urls"] = host.url
    refuse(params, tmp_path / "made", "broke off 5 times")
    host.asked = []
    row = run(params, tmp_path / "made")
    assert row["model_types"] == "alphafold2_multimer_v3"
    assert host.asked == [f"bytes={half}-"]
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_full_disk_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    write_archive(archive, tiny_set() | {"params_model_1_multimer_v3.npz": bytes(3_000_000)})
    packed = tmp_path / "set.tar.gz"
    packed.write_bytes(gzip.compress(archive.read_bytes()))
    params = tmp_path / "params.json"
    params.write_text(json.dumps(from_addresses(packed)), "utf-8")
    script = ROOT / "data_managers/colabfold_weights/data_manager/data_manager_colabfold_weights.py"
    program = textwrap.dedent("""
        import resource, runpy, sys
        limit = int(sys.argv.pop(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        runpy.run_path(sys.argv.pop(1), run_name="__main__")
    """)
    size = packed.stat().st_size
    # While the archive arrives, and while the first file is unpacked.
    for limit, message in ((size // 2, "cannot be written"), (size + 1, "cannot be unpacked")):
        folder = tmp_path / str(limit)
        arguments = [str(limit), script, "--params", params, "--outputs", folder]
        done = subprocess.run(
            # -B: the limit would cut compiled modules short as well.
            [sys.executable, "-B", "-c", program, *arguments],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert list(folder.iterdir()) == []


def of_folder(database: Databases, **changes: str) -> dict[str, Any]:
    form = {
        "kind": "folder",
        "path": str(database.path),
        "uniref": database.uniref,
        "environmental": database.environmental,
        "templates": database.templates,
    }
    return {"source": form | changes, "name": "Tiny", "version": "1"}


def test_a_folder_of_databases_is_registered_where_it_is(
    database: Databases, tmp_path: Path
) -> None:
    row = run(of_folder(database), tmp_path / "made", databases_job)
    assert row["path"] == str(database.path)
    assert row["kinds"] == "clusters,pairing,environmental,templates,structures"
    assert [row[key] for key in ("uniref", "environmental", "templates")] == [
        tiny.UNIREF,
        tiny.ENVIRONMENTAL,
        tiny.TEMPLATES,
    ]
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["data_manager.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "relative/path"}, "does not begin with a slash"),
        ({"path": ""}, "is empty"),
        ({"path": "/nothing/here"}, "is no folder"),
        ({"uniref": "other_db"}, r"other_db\.dbtype is not in"),
        ({"environmental": "../other"}, "cannot be the name of a database"),
        ({"templates": tiny.UNIREF + "_aln"}, "holds something else"),
    ],
)
def test_folders_that_cannot_be_used_leave_nothing(
    database: Databases, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    refuse(of_folder(database, **change), tmp_path / "made", message, databases_job)


def of_fasta(folder: Path, **changes: Any) -> dict[str, Any]:
    form = {
        "kind": "build",
        "members": str(folder / "members.fasta"),
        "environmental": str(folder / "environmental.fasta"),
        "templates": None,
        "clustering": "linear",
        "taxonomy": {"known": "no"},
    }
    return {"source": form | changes, "name": "Mine", "version": "1"}


def test_databases_are_built_and_can_be_searched_elsewhere(tmp_path: Path) -> None:
    tiny.write_sources(tmp_path)
    row = run(of_fasta(tmp_path), tmp_path / "made", databases_job)
    assert row["kinds"] == "clusters,environmental"
    # Galaxy moves the folder.
    moved = (tmp_path / "made" / "files" / row["path"]).rename(tmp_path / "moved")
    assert check_databases(moved, row["uniref"], row["environmental"]).path == moved


def test_databases_that_cannot_be_built_leave_nothing(tmp_path: Path) -> None:
    tiny.write_sources(tmp_path)
    (tmp_path / "environmental.fasta").write_text("")
    refuse(of_fasta(tmp_path), tmp_path / "made", "could not createdb", databases_job)


def test_values_of_rows_differ_with_their_content() -> None:
    assert row_value("AlphaFold 2 (2021-07-14)", ["a"]).startswith("alphafold_2_2021_07_14_")
    assert row_value("x", ["a"]) != row_value("x", ["b"])
    assert one_line("  as typed  ", "It") == "as typed"


def test_every_published_set_is_described() -> None:
    for key, known in WEIGHTS_SETS.items():
        assert known.model_type in MODEL_TYPES, key
        assert all(url.startswith("https://") for url in known.urls)
        assert known.licence
        assert known.size is None or len(known.urls) == 1
