"""What is to be folded, from every kind of input, and what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from inputs import DATA, dataset, form, text

from gpulab.errors import InputError
from gpulab.fold.options import options_of
from gpulab.fold.run_input import Job, read_jobs
from gpulab.testing.fold_inputs import ALPHA, BETA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


def read(source: dict[str, Any], folder: Path) -> list[Job]:
    return read_jobs(options_of(form(folder, source), folder), folder)


def a3m(*paths: Path, mode: str = "alignment") -> dict[str, Any]:
    return {"kind": "a3m", "a3m_files": [dataset(path) for path in paths], "msa_mode": mode}


def tar(path: Path, mode: str = "alignment") -> dict[str, Any]:
    return {"kind": "tar", "archive": dataset(path), "msa_mode": mode}


def write_tar(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def test_a_bare_sequence_and_fasta_are_the_same(folder: Path) -> None:
    bare = read(text(f" {ALPHA[:5].lower()} \n{ALPHA[5:]}"), folder)
    named = read(text(f">alpha\n{ALPHA}*\n"), folder)
    assert bare[0].chains == named[0].chains == (ALPHA,)
    assert named[0].name == "alpha"
    assert named[0].alignment is None


def test_copies_of_a_chain_are_put_together(folder: Path) -> None:
    job = read({"kind": "fasta", "fasta_file": dataset(DATA / "complex.fasta")}, folder)[0]
    assert job.chains == (ALPHA[:8], ALPHA[:8], BETA[:8])
    assert job.is_complex


def test_a_bad_query_does_not_hold_up_the_others(folder: Path) -> None:
    jobs = read({"kind": "fasta", "fasta_file": dataset(DATA / "three.fasta")}, folder)
    assert [job.name for job in jobs] == ["good", "bad", "good_2"]
    assert [bool(job.problem) for job in jobs] == [False, True, False]


def test_alignments_are_named_by_their_datasets(folder: Path) -> None:
    jobs = read(a3m(DATA / "alpha.a3m", DATA / "broken.a3m", DATA / "beta.a3m"), folder)
    assert [job.name for job in jobs] == ["alpha", "broken", "beta"]
    assert [job.depth for job in jobs] == [4, 1, 3]
    assert "is no alignment" in jobs[1].problem
    assert jobs[0].alignment is not None
    assert jobs[0].alignment.read_text().startswith("#16\t1\n>101\n")


def test_sequences_alone_need_no_alignment(folder: Path) -> None:
    jobs = read(a3m(DATA / "alpha.a3m", mode="single_sequence"), folder)
    assert jobs[0].alignment is None
    assert jobs[0].chains == (ALPHA,)


def test_lengths_of_alignments_are_checked_as_those_of_sequences(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLABFOLD_AA_LENGTH_MAX", "14")
    jobs = read(a3m(DATA / "alpha.a3m", DATA / "beta.a3m"), folder)
    assert "The query 'alpha' has 16 residues, this server folds at most 14" in jobs[0].problem
    assert not jobs[1].problem
    monkeypatch.setenv("COLABFOLD_MAX_SEQUENCES", "1")
    with pytest.raises(InputError, match="at most 1 in one job"):
        read(a3m(DATA / "alpha.a3m", DATA / "beta.a3m"), folder)


def test_of_a_tar_the_alignments_alone_are_read(folder: Path) -> None:
    jobs = read(tar(DATA / "msas.tar"), folder)
    assert [(job.name, job.chains) for job in jobs] == [
        ("galaxy_0", (ALPHA,)),
        ("galaxy_1", (BETA,)),
    ]
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"000000.a3m", "000001.a3m", "galaxy_0.a3m", "galaxy_1.a3m"}


def test_nothing_leaves_the_folder(folder: Path, tmp_path: Path) -> None:
    content = (DATA / "alpha.a3m").read_bytes()
    path = write_tar(
        tmp_path / "evil.tar",
        {"../../escaped.a3m": content, "/absolute.a3m": content},
        {"link.a3m": "/etc/passwd"},
    )
    before = set(tmp_path.iterdir())
    jobs = read(tar(path), folder)
    assert set(tmp_path.iterdir()) == before
    assert {job.name for job in jobs} <= {"escaped", "absolute"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no archive at all", "cannot be read"), (None, "holds no alignment")],
)
def test_archives_without_alignments(
    folder: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "some.tar"
    if content is None:
        write_tar(path, {"output.colab/galaxy_0.pickle": b"x"})
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tar(path), folder)


def test_archives_cut_short(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tar"
    path.write_bytes((DATA / "msas.tar").read_bytes()[:700])
    with pytest.raises(InputError, match="cannot be read"):
        read(tar(path), folder)


def test_when_nothing_can_be_folded_the_first_reason_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"is no alignment.*1 more cannot be used"):
        read(a3m(DATA / "broken.a3m", DATA / "broken.a3m"), folder)
    with pytest.raises(InputError, match="empty"):
        read(text("  "), folder)
