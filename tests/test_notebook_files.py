"""What a notebook left behind is taken, and nothing that it points to."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from gpulab.notebook.datatypes import KNOWN, datatype_of
from gpulab.notebook.files import DISCOVER, FileLimits, Harvest, element_name, harvest_files
from gpulab.notebook.leftovers import MAX_DEPTH
from localgalaxy.environments import environment
from localgalaxy.paths import GALAXY_VENV

PLENTY = FileLimits(10_000, 1 << 30)
SECRET = "what must not leave the server"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "outputs").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text(SECRET)
    return folder


def harvest(work: Path, *exclude: str, limits: FileLimits = PLENTY) -> Harvest:
    return harvest_files(
        work,
        exclude=exclude,
        outputs=work.parent / "files",
        archive=work.parent / "archive.zip",
        limits=limits,
    )


def zipped(work: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(work.parent / "archive.zip") as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def copied(work: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (work.parent / "files").iterdir()}


def test_files_of_outputs_become_datasets(work: Path) -> None:
    (work / "outputs" / "curve.png").write_bytes(b"png")
    (work / "outputs" / "scores.TSV").write_text("a\tb\n")
    (work / "outputs" / "scan.nii.gz").write_bytes(b"nii")
    (work / "outputs" / "README").write_text("text")
    (work / "outputs" / "deep" / "er").mkdir(parents=True)
    (work / "outputs" / "deep" / "er" / "curve.png").write_bytes(b"other")
    (work / "outputs" / "deep_er_curve.png").write_bytes(b"third")
    (work / "notes.txt").write_text("elsewhere")
    done = harvest(work)
    assert copied(work) == {
        "curve.png.png": b"png",
        "scores.TSV.tabular": b"a\tb\n",
        "scan.nii.gz.nii1.gz": b"nii",
        "README.data": b"text",
        "deep_er_curve.png.png": b"other",
        "deep_er_curve_2.png.png": b"third",
    }
    assert {(f.name, f.datatype) for f in done.files} >= {
        ("curve.png", "png"),
        ("scan.nii.gz", "nii1.gz"),
    }
    # What Galaxy reads from the names is what was meant.
    for file in done.files:
        match = re.match(DISCOVER, file.path.name)
        assert match
        assert (match["name"], match["ext"]) == (file.name, file.datatype)
        assert file.size == file.path.stat().st_size
    assert not done.refused
    assert not done.notes


def test_the_archive_holds_everything_but_the_inputs(work: Path) -> None:
    (work / "outputs" / "a.txt").write_text("a")
    (work / "sub" / "empty").mkdir(parents=True)
    (work / "sub" / "b.txt").write_text("b" * 100_000)
    (work / "h5_datasets").mkdir()
    (work / "h5_datasets" / "big.h5").write_text("input")
    (work / "scans").mkdir()
    (work / "scans" / "one.dcm").write_text("input")
    (work / "galaxy_inputs.json").write_text("{}")
    done = harvest(work, "h5_datasets/big.h5", "scans", "galaxy_inputs.json")
    assert zipped(work) == {
        "outputs/": b"",
        "outputs/a.txt": b"a",
        "sub/": b"",
        "sub/empty/": b"",
        "sub/b.txt": b"b" * 100_000,
    }
    assert (done.zipped, done.zipped_bytes) == (2, 100_001)
    assert (work.parent / "archive.zip").stat().st_size < 10_000


def test_no_folder_of_outputs(work: Path) -> None:
    (work / "outputs").rmdir()
    done = harvest(work)
    assert (done.files, done.zipped, done.refused, done.notes) == ([], 0, [], [])
    assert zipped(work) == {}


@pytest.mark.parametrize(
    "target",
    ["../../secret.txt", "{secret}", "../kept.txt", "gone", "link", ".", "..", "/", "/dev/zero"],
)
def test_links_are_not_followed(work: Path, target: str) -> None:
    (work / "kept.txt").write_text("kept")
    link = work / "outputs" / "link"
    link.symlink_to(target.format(secret=work.parent / "secret.txt"))
    done = harvest(work)
    assert done.refused == ["'outputs/link' is a symbolic link"]
    assert copied(work) == {}
    assert zipped(work) == {"outputs/": b"", "kept.txt": b"kept"}


def test_outputs_itself_is_a_link(work: Path) -> None:
    (work / "outputs").rmdir()
    (work / "outputs").symlink_to(work.parent)
    done = harvest(work)
    assert done.refused == ["'outputs' is a symbolic link"]
    assert copied(work) == {}


def test_an_input_that_was_replaced_by_a_link(work: Path) -> None:
    (work / "input.h5").symlink_to(work.parent / "secret.txt")
    done = harvest(work, "input.h5")
    assert not done.refused
    assert zipped(work) == {"outputs/": b""}


def test_pipes_and_sockets_do_not_block(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(work / "outputs" / "pipe")
    monkeypatch.chdir(work)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        done = harvest(work)
    assert sorted(done.refused) == ["'outputs/pipe' is a named pipe", "'socket' is a socket"]
    assert zipped(work) == {"outputs/": b""}


def test_devices_are_refused(work: Path) -> None:
    try:
        os.mknod(work / "outputs" / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices, so none was tried")
    assert harvest(work).refused == ["'outputs/zero' is a device"]


def test_hard_links_out_of_the_folder_are_refused(work: Path) -> None:
    (work / "outputs" / "mine.txt").hardlink_to(work.parent / "secret.txt")
    (work / "data.h5").write_text("an input")
    (work / "outputs" / "copy.h5").hardlink_to(work / "data.h5")
    (work / "one.txt").write_text("one")
    (work / "outputs" / "two.txt").hardlink_to(work / "one.txt")
    done = harvest(work, "data.h5")
    assert done.refused == [
        "'outputs/copy.h5' is a hard link to an input",
        "'outputs/mine.txt' is a hard link to a file elsewhere",
    ]
    assert zipped(work) == {"outputs/": b"", "outputs/two.txt": b"one", "one.txt": b"one"}
    assert copied(work) == {"two.txt.txt": b"one"}


NAMES = {
    b"-rf": "rf",
    b"--help.txt": "help.txt",
    b"a\nb.txt": "a_b.txt",
    b"\x1b[31mred.txt": "_[31mred.txt",
    b"\xff\xfe.txt": "__.txt",
    "größe ∑.csv".encode(): "größe _.csv",
    b"..hidden": "hidden",
    b"...": "file",
    b" ": "file",
    b"$(touch x);'\".txt": "__touch x____.txt",
    b"a\\..\\..\\b.txt": "a_.._.._b.txt",
    b"n" * 251 + b".txt": "n" * 176 + ".txt",
    "ü".encode() * 127: "ü" * 90,
    "abc\u202egnp.txt".encode(): "abc_gnp.txt",
}


@pytest.mark.parametrize("raw", NAMES, ids=range(len(NAMES)))
def test_names_can_do_no_harm(work: Path, raw: bytes) -> None:
    folder = os.fsencode(work / "outputs")
    Path(os.fsdecode(folder + b"/" + raw)).write_text("x")
    done = harvest(work)
    expected = NAMES[raw].replace("[", "_")
    assert [file.name for file in done.files] == [expected]
    assert len(os.fsencode(done.files[0].path.name)) <= 255
    inside = [name for name in zipped(work) if not name.endswith("/")]
    assert len(inside) == 1
    assert inside[0].isprintable()
    assert "\\" not in inside[0]
    assert ".." not in inside[0].split("/")


def test_names_that_become_equal_stay_apart(work: Path) -> None:
    for raw in (b"\xff.txt", b"\xfe.txt", b"_.TXT"):
        Path(os.fsdecode(os.fsencode(work / "outputs") + b"/" + raw)).write_bytes(raw)
    done = harvest(work)
    assert len({file.name.casefold() for file in done.files}) == 3
    assert len({name.casefold() for name in zipped(work)}) == 4
    assert sorted(copied(work).values()) == [b"_.TXT", b"\xfe.txt", b"\xff.txt"]


def test_element_names_without_an_ending() -> None:
    taken: set[str] = set()
    assert element_name(["model"], taken) == "model"
    assert element_name(["model"], taken) == "model_2"
    assert element_name(["a.b", "model"], taken) == "a.b_model"
    assert len(element_name(["x." + "y" * 300], taken).encode()) == 180


def test_folders_without_end(work: Path) -> None:
    here = os.open(work / "outputs", os.O_RDONLY)
    for _ in range(1500):  # deeper than a path can be written, and than Python can recurse
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("lost.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    (work / "outputs" / "z.txt").write_text("z")
    done = harvest(work)
    assert len(done.refused) == 1
    assert f"lies in {MAX_DEPTH} folders" in done.refused[0]
    assert len(done.refused[0]) < 300
    assert [file.name for file in done.files] == ["z.txt"]
    subprocess.run(["rm", "-rf", str(work)], check=True)  # pytest's own removal recurses


def test_a_file_in_deep_folders_is_taken(work: Path) -> None:
    here = os.open(work / "outputs", os.O_RDONLY)
    for _ in range(MAX_DEPTH - 2):  # a path of 7,600 bytes, which no system call takes at once
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with os.fdopen(os.open("a.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as stream:
        stream.write("found")
    os.close(here)
    done = harvest(work)
    assert not done.refused
    assert list(copied(work).values()) == [b"found"]
    assert b"found" in zipped(work).values()
    subprocess.run(["rm", "-rf", str(work)], check=True)


def test_a_great_many_files_are_bounded_early(work: Path) -> None:
    (work / "outputs" / "result.txt").write_text("the result")
    many = work / "aaa"
    many.mkdir()
    for number in range(50_000):
        os.close(os.open(many / f"{number}", os.O_CREAT | os.O_WRONLY))
    begin = time.monotonic()
    done = harvest(work, limits=FileLimits(100, 1 << 30))
    assert time.monotonic() - begin < 2
    assert [file.name for file in done.files] == ["result.txt"]
    assert len(zipped(work)) <= 100
    assert len(done.notes) == 1
    assert "more than 100 files and folders" in done.notes[0]


def test_a_great_many_folders_and_links_count_too(work: Path) -> None:
    for number in range(500):
        (work / f"folder{number}").mkdir()
        (work / f"link{number}").symlink_to("x")
    done = harvest(work, limits=FileLimits(120, 1 << 30))
    assert len(zipped(work)) <= 120
    assert len(done.refused) <= 51
    assert done.notes


def test_many_refusals_are_counted(work: Path) -> None:
    for number in range(200):
        (work / f"link{number:03d}").symlink_to("x")
    done = harvest(work)
    assert len(done.refused) == 51
    assert done.refused[-1] == "and 150 more"


def test_a_sparse_terabyte_is_refused_before_it_is_read(work: Path) -> None:
    with (work / "outputs" / "huge.bin").open("wb") as stream:
        stream.truncate(1 << 40)
    (work / "outputs" / "small.txt").write_text("kept")
    begin = time.monotonic()
    done = harvest(work, limits=FileLimits(100, 1000))
    assert time.monotonic() - begin < 2
    assert [file.name for file in done.files] == ["small.txt"]
    assert zipped(work)["outputs/small.txt"] == b"kept"
    assert len(done.notes) == 2
    assert "'outputs/huge.bin' (1,099.5 GB) has no room in" in done.notes[0]


def test_bytes_are_bounded_together(work: Path) -> None:
    for number in range(5):
        (work / "outputs" / f"{number}.bin").write_bytes(b"x" * 400)
    done = harvest(work, limits=FileLimits(100, 1000))
    assert [file.name for file in done.files] == ["0.bin", "1.bin"]
    assert done.zipped == 2
    assert len(done.notes) == 6


def test_files_without_permission(work: Path) -> None:
    (work / "outputs" / "locked.txt").write_text("x")
    (work / "outputs" / "locked.txt").chmod(0)
    (work / "shut").mkdir()
    (work / "shut").chmod(0)
    done = harvest(work)
    (work / "shut").chmod(0o700)
    if os.geteuid() == 0:
        assert not done.refused
    else:
        assert sorted(done.refused) == [
            "'outputs/locked.txt' cannot be read (Permission denied)",
            "'shut' cannot be read (Permission denied)",
        ]


def test_times_that_a_zip_cannot_hold(work: Path) -> None:
    for number, when in enumerate((-1e9, 0, 4e9, 1e11)):
        path = work / f"{number}.txt"
        path.write_text("x")
        os.utime(path, (when, when))
    harvest(work)
    with zipfile.ZipFile(work.parent / "archive.zip") as archive:
        years = [archive.getinfo(f"{number}.txt").date_time[0] for number in range(4)]
    assert years[0] == years[1] == 1980
    assert years[3] == 2107


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PNG", "png"),
        ("a.hdf5", "h5"),
        ("a.tar.gz", "tar.gz"),
        ("a.md", "markdown"),
        ("a.b.tif", "tiff"),
        ("a.unknown", "data"),
        ("a", "data"),
        (".png", "png"),
        ("a.", "data"),
        ("", "data"),
        ("a.exe.gz", "gz"),
    ],
)
def test_datatype_by_ending(name: str, expected: str) -> None:
    assert datatype_of(name) == expected


LIST_DATATYPES = """
import json
from pathlib import Path
import galaxy.config
from galaxy.util import parse_xml
sample = Path(galaxy.config.__file__).parent / "sample" / "datatypes_conf.xml.sample"
known = []
for datatype in parse_xml(sample).getroot().iter("datatype"):
    name = datatype.get("extension")
    packed = [kind for kind in datatype.get("auto_compressed_types", "").split(",") if kind]
    known += [name, *(f"{name}.{kind}" for kind in packed)]
print(json.dumps(known))
"""


def test_every_datatype_is_one_of_galaxy() -> None:
    assert (GALAXY_VENV / "bin" / "python").exists(), "run `make setup` first"
    command = [str(GALAXY_VENV / "bin" / "python"), "-c", LIST_DATATYPES]
    done = subprocess.run(
        command, env=environment(GALAXY_VENV), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    known = set(json.loads(done.stdout.splitlines()[-1]))
    assert KNOWN - known == set()
    assert len(KNOWN) > 50
