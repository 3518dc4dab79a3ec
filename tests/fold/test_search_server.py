"""Searches on an MSA server: a stand-in over the tiny database, well-mannered and otherwise."""

from __future__ import annotations

import gzip
import io
import socket
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpulab.fold.databases import Databases
from gpulab.fold.msa import Found
from gpulab.fold.queries import Limits, Query, parse_queries
from gpulab.fold.search_options import Pairing, ServerSearch
from gpulab.fold.search_server import search_server
from gpulab.testing.fold_database import queries
from gpulab.testing.fold_server import CLUSTERS_FILE, Manners, StandIn, pack, serving

A, B = queries()["A"], queries()["B"]
OTHER = f">101\n{A[::-1]}\n\0".encode()
ALONE = f">101\n{A}\n\0".encode()


@pytest.fixture
def server(database: Databases) -> Iterator[StandIn]:
    with serving(database.path) as stand_in:
        yield stand_in


def parse(text: str) -> list[Query]:
    return parse_queries(text, "input", Limits())


def search(
    stand_in: StandIn, folder: Path, text: str = f">one\n{A}\n", **changes: object
) -> tuple[list[Found], list[str]]:
    told: list[str] = []
    pairing = Pairing(changes.pop("mode", "unpaired_paired"))  # type: ignore[arg-type]
    chosen = replace(ServerSearch("stand-in", stand_in.url, environmental=False), **changes)
    results = search_server(
        parse(text), chosen, pairing, folder, with_af3=True, tell=told.append, pause=0.1
    )
    return list(results), told


def depths(result: Found) -> list[int]:
    assert result.alignment is not None, result.problem
    return [chain.depth for chain in result.alignment.chains]


def test_monomer_and_complex(server: StandIn, tmp_path: Path) -> None:
    text = f">mono\n{A}\n>cplx\n{A}:{B}:{B}\n"
    (mono, complex_), told = search(
        server, tmp_path, text, environmental=True, templates=True, contact="a@b.example\r\nX: ü"
    )
    assert mono.a3m.startswith(f"#{len(A)}\t1\n>101\n{A}\n".encode())
    # The query, the family's twelve and the eight distant relatives.
    assert depths(mono) == [21]
    assert mono.templates == b"101\t9xyz_A\t0.9\n"
    assert complex_.alignment is not None
    assert complex_.alignment.sequences == (A, B, B)
    assert complex_.alignment.paired == 12
    assert complex_.af3 is not None
    assert complex_.af3["name"] == "cplx"
    assert [chain["protein"]["id"] for chain in complex_.af3["sequences"]] == [["A"], ["B", "C"]]
    assert [(s.path, s.mode, s.sequences) for s in server.submissions] == [
        ("/ticket/msa", "env", (A,)),
        ("/ticket/msa", "env", (A, B)),
        ("/ticket/pair", "pairgreedy", (A, B)),
    ]
    for submission in server.submissions:
        assert submission.agent.startswith("galaxy-gpu-lab/")
        assert submission.agent.endswith("; a@b.example X: ?)")
    assert told[0] == f"Query 1 of 2, mono: sent to {server.url}"


@pytest.mark.parametrize(("mode", "tickets"), [("paired", ["pair"]), ("unpaired", ["msa"])])
def test_pair_modes(server: StandIn, tmp_path: Path, mode: str, tickets: list[str]) -> None:
    (result,), _ = search(server, tmp_path, f">cplx\n{A}:{B}\n", mode=mode)
    assert [s.path.rsplit("/")[-1] for s in server.submissions] == tickets
    assert result.alignment is not None
    assert result.alignment.paired == (12 if mode == "paired" else 0)
    # Of the second chain the search finds more than one way to align a sequence.
    assert depths(result)[0] == 13


def test_copies_of_a_chain_need_no_pairs(server: StandIn, tmp_path: Path) -> None:
    (result,), _ = search(server, tmp_path, f">homo\n{A}:{A}\n")
    assert [s.path for s in server.submissions] == ["/ticket/msa"]
    assert result.a3m.startswith(b"#%d\t2\n" % len(A))


def test_waits_for_its_turn(server: StandIn, tmp_path: Path) -> None:
    server.manners = Manners(submissions=["RATELIMIT"], polls=["PENDING", "RUNNING"])
    (result,), told = search(server, tmp_path)
    assert depths(result) == [13]
    assert [line.strip() for line in told[1:]] == [
        "the server accepts no more queries at the moment, asking again",
        "queued at the server",
        "the server searches",
    ]


def test_gives_up_when_time_is_up(server: StandIn, tmp_path: Path) -> None:
    server.manners = Manners(submissions=["RATELIMIT"] * 9)
    (result,), _ = search(server, tmp_path, patience=1.0)
    assert "was not done after 0 minutes" in result.problem


def test_a_download_that_breaks_off_is_tried_again(server: StandIn, tmp_path: Path) -> None:
    server.manners = Manners(broken=1)
    (result,), told = search(server, tmp_path)
    assert depths(result) == [13]
    assert told[-1].strip() == "no answer, asking again"


def test_a_download_that_always_breaks_off(server: StandIn, tmp_path: Path) -> None:
    server.manners = Manners(broken=99, archive=lambda: pack({CLUSTERS_FILE: ALONE}))
    (result, other), _ = search(server, tmp_path, f">one\n{A}\n>two\n{B}\n")
    assert "does not answer or breaks off, try again later" in result.problem
    assert "The query 'two' was not searched" in other.problem
    assert len(server.submissions) == 1


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stand_in = StandIn(tmp_path, Manners(), url=f"http://127.0.0.1:{port}")
    (result,), _ = search(stand_in, tmp_path)
    assert "does not answer or breaks off" in result.problem
    assert f"127.0.0.1:{port}" in result.problem


@pytest.mark.parametrize(
    ("manners", "message", "asked"),
    [
        (Manners(submissions=["MAINTENANCE"]), "is under maintenance", 1),
        (Manners(polls=["PENDING", "MAINTENANCE"]), "is under maintenance", 1),
        (Manners(submissions=["ERROR"] * 2), "could not search this query", 2),
        (Manners(submissions=["WHATEVER"]), "something else than a ticket", 1),
        (Manners(body=b"<html>login</html>"), "something else than a ticket", 0),
        (Manners(body=b'["COMPLETE"]'), "something else than a ticket", 0),
        (Manners(body=b'{"status": "PENDING", "id": "../../x"}'), "no usable ticket", 0),
        (Manners(body=b'{"status": "PENDING"}'), "no usable ticket", 0),
        (Manners(body=b" " * (2 << 20)), "sent more than 1 MiB", 0),
        (Manners(redirect="http://127.0.0.1:9/"), "sends us on to another address", 0),
    ],
)
def test_answers_that_end_a_query(
    server: StandIn, tmp_path: Path, manners: Manners, message: str, asked: int
) -> None:
    server.manners = manners
    (one, two), _ = search(server, tmp_path, f">one\n{A}\n>two\n{B}\n")
    assert message in one.problem
    assert one.problem.startswith("The query 'one'")
    assert two.problem.startswith("The query 'two'")
    assert len(server.submissions) == asked


def tar(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return tar(info)


def bomb() -> bytes:
    """Return an archive of a few kilobytes that claims to be a gigabyte."""
    info = tarfile.TarInfo(CLUSTERS_FILE)
    info.size = 1 << 30
    return gzip.compress(info.tobuf() + bytes(1 << 20))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (lambda: member("../evil.a3m"), "'../evil.a3m', which is no plain file"),
        (lambda: member("/tmp/evil.a3m"), "'/tmp/evil.a3m', which is no plain file"),
        (lambda: member("sub/uniref.a3m"), "which is no plain file"),
        (lambda: member(CLUSTERS_FILE, tarfile.SYMTYPE, "/etc/passwd"), "which is no plain file"),
        (lambda: member(CLUSTERS_FILE, tarfile.LNKTYPE, "x"), "which is no plain file"),
        (lambda: member("dev", tarfile.CHRTYPE), "which is no plain file"),
        (lambda: tar(*(tarfile.TarInfo(f"f{n}") for n in range(60))), "or 50 files"),
        (bomb, "unpacks to more than 512 MiB"),
        (lambda: b"no archive at all", "is broken or holds no alignment"),
        (lambda: pack({CLUSTERS_FILE: ALONE})[:-30], "is broken or holds no alignment"),
        (lambda: b"", "is broken or holds no alignment"),
        (lambda: pack({"other.txt": b""}), "is broken or holds no alignment"),
        (lambda: pack({CLUSTERS_FILE: b"hello\n"}), "is broken or holds no alignment"),
        (lambda: pack({CLUSTERS_FILE: b">999\nACDEF\n\0"}), "is broken or holds no alignment"),
        (lambda: pack({CLUSTERS_FILE: b">101\nACDEF\n\0"}), "first sequence has 5 positions"),
        (lambda: pack({CLUSTERS_FILE: OTHER}), "belongs to other sequences"),
        (lambda: pack({CLUSTERS_FILE: ALONE + b">x\nACDEF\n\0"}), "is broken or holds no"),
        (lambda: pack({CLUSTERS_FILE: ALONE[:-1] + b">x\nAC\n\0"}), "is no alignment"),
        (lambda: pack({CLUSTERS_FILE: b">101\nAC\xff\xfe\n\0"}), "is broken or holds no"),
    ],
)
def test_archives_that_are_none(
    server: StandIn, tmp_path: Path, archive: Callable[[], bytes], message: str
) -> None:
    server.manners = Manners(archive=archive)
    folder = tmp_path / "work"
    folder.mkdir()
    (result,), _ = search(server, folder)
    assert message in result.problem
    assert not (tmp_path / "evil.a3m").exists()
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_the_other_queries_are_searched_all_the_same(server: StandIn, tmp_path: Path) -> None:
    server.manners = Manners(submissions=["ERROR"])
    (one, two), _ = search(server, tmp_path, f">one\n{A}\n>two\n{B}\n")
    assert "could not search this query" in one.problem
    assert depths(two)[0] > 12


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("MAINTENANCE", "is under maintenance"),
        ("FAILING", "could not search this query"),
        ("ESCAPE", "holds '../outside.a3m'"),
        ("NARRATIVE", "is broken or holds no alignment"),
        ("DEATH", "does not answer or breaks off"),
    ],
)
def test_the_stand_in_misbehaves_for_tests_in_galaxy(
    server: StandIn, tmp_path: Path, word: str, message: str
) -> None:
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        folder.mkdir()
        (result,), _ = search(server, folder, f">one\n{word}\n")
        assert message in result.problem
