"""Unpacking archives that nobody has looked into."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.fold.unpack import MEMBERS, unpack
from gpulab.testing.fold_archives import write_archive

WANTED = {"a.npz", "b.npz"}


def members(path: Path, *infos: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(path, "w") as archive:
        for info in infos:
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    result = tarfile.TarInfo(name)
    result.type, result.linkname = kind, link
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    result = tmp_path / "inside"
    result.mkdir()
    return result


def test_wanted_files_are_taken_from_any_folder(tmp_path: Path, folder: Path) -> None:
    write_archive(tmp_path / "x.tar", {"./params/a.npz": b"1", "b.npz": b"22", "c.txt": b"3"})
    assert unpack(tmp_path / "x.tar", folder, WANTED, limit=1000) == ["a.npz", "b.npz"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.npz": b"1",
        "b.npz": b"22",
    }


def test_a_compressed_archive_is_read(tmp_path: Path, folder: Path) -> None:
    write_archive(tmp_path / "x.tar", {"a.npz": b"1"})
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))
    assert unpack(tmp_path / "x.tar.gz", folder, WANTED, limit=1000) == ["a.npz"]


@pytest.mark.parametrize("name", ["../a.npz", "/tmp/a.npz", "x/../../a.npz", ".."])
def test_paths_that_climb_out_are_refused(tmp_path: Path, folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="leaves its folder"):
        unpack(members(tmp_path / "x.tar", info(name)), folder, WANTED, limit=1000)
    assert not list(folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "x.tar"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, folder: Path, kind: bytes) -> None:
    with pytest.raises(InputError, match="link or a device"):
        unpack(
            members(tmp_path / "x.tar", info("a.npz", kind, "/etc/passwd")), folder, WANTED, limit=9
        )
    assert not list(folder.iterdir())


def test_a_file_that_comes_twice_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = members(tmp_path / "x.tar", info("a.npz"), info("x/a.npz"))
    with pytest.raises(InputError, match=r"holds a\.npz twice"):
        unpack(archive, folder, WANTED, limit=1000)


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_written(
    tmp_path: Path, folder: Path
) -> None:
    write_archive(tmp_path / "x.tar", {"a.npz": bytes(2000)})
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack(packed, folder, WANTED, limit=1999)
    assert not list(folder.iterdir())


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = members(tmp_path / "x.tar", *(info(str(n)) for n in range(MEMBERS + 1)))
    with pytest.raises(InputError, match=f"or {MEMBERS} files"):
        unpack(archive, folder, WANTED, limit=10**9)


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8b\x08" + bytes(60)])
def test_what_is_no_archive_is_refused(tmp_path: Path, folder: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.tar"):
        unpack(tmp_path / "x.tar", folder, WANTED, limit=1000)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_239))
def test_an_archive_that_was_cut_is_refused_or_gives_all_files(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("cut")
    whole = {"a.npz": bytes(3000), "b.npz": bytes(4000)}
    write_archive(tmp_path / "x.tar", whole)
    content = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(content[:cut])
    (tmp_path / "inside").mkdir()
    try:
        names = unpack(tmp_path / "x.tar", tmp_path / "inside", WANTED, limit=10_000)
    except InputError:
        return
    # Nothing but padding was cut off.
    assert {name: (tmp_path / "inside" / name).read_bytes() for name in names} == whole
