"""Fetching large files: interruptions, other files, a full disk; from a real server on loopback."""

from __future__ import annotations

import hashlib
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from file_host import CONTENT, Host

from gpulab.errors import InputError
from gpulab.fold.fetch import fetch, sum_of

SUM = hashlib.sha256(CONTENT).hexdigest()
ROOT = Path(__file__).resolve().parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(host: Host, tmp_path: Path) -> None:
    found = fetch(host.url, tmp_path / "it", size=len(CONTENT), sha256=SUM.upper())
    assert (found.size, found.sha256) == (len(CONTENT), SUM)
    assert sum_of(tmp_path / "it") == SUM
    assert names(tmp_path) == ["it"]


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "with space.tar").write_bytes(CONTENT)
    found = fetch((tmp_path / "with space.tar").as_uri(), tmp_path / "it", sha256=SUM)
    assert found.size == len(CONTENT)


def test_broken_connections_are_taken_up_where_they_broke(host: Host, tmp_path: Path) -> None:
    host.breaks = [1_000_000, 2_000_000]
    found = fetch(host.url, tmp_path / "it", wait=0)
    assert found.sha256 == SUM
    assert host.asked == ["", "bytes=1000000-", "bytes=3000000-"]


def test_another_call_goes_on_too(host: Host, tmp_path: Path) -> None:
    host.breaks = [1_000_000]
    with pytest.raises(InputError, match="broke off 1 times"):
        fetch(host.url, tmp_path / "it", attempts=1)
    assert names(tmp_path) == ["it.etag", "it.part"]
    assert fetch(host.url, tmp_path / "it").sha256 == SUM
    assert host.asked == ["", "bytes=1000000-"]


def test_a_changed_file_is_fetched_from_its_beginning(host: Host, tmp_path: Path) -> None:
    host.breaks = [1_000_000]
    with pytest.raises(InputError):
        fetch(host.url, tmp_path / "it", attempts=1)
    host.content, host.etag = CONTENT[::-1], '"two"'
    found = fetch(host.url, tmp_path / "it")
    assert found.sha256 == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize("change", [{"ranges": False}, {"etag": ""}, {"etag": 'W/"one"'}])
def test_a_server_that_cannot_go_on_sends_all_again(
    host: Host, tmp_path: Path, change: dict[str, object]
) -> None:
    for name, value in change.items():
        setattr(host, name, value)
    host.breaks = [1_000_000]
    assert fetch(host.url, tmp_path / "it", wait=0).sha256 == SUM


def test_an_answer_that_begins_elsewhere_is_not_appended(host: Host, tmp_path: Path) -> None:
    host.breaks, host.shift = [1_000_000], 5
    with pytest.raises(InputError, match="goes on at another place"):
        fetch(host.url, tmp_path / "it", attempts=2, wait=0)


def test_a_range_beyond_the_end_begins_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "it.part").write_bytes(CONTENT)
    (tmp_path / "it.etag").write_text(host.etag)
    host.statuses = [416]
    assert fetch(host.url, tmp_path / "it", wait=0).sha256 == SUM


def test_what_has_all_arrived_is_not_fetched_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "it.part").write_bytes(CONTENT)
    assert fetch(host.url, tmp_path / "it", size=len(CONTENT), sha256=SUM).sha256 == SUM
    assert host.asked == []


def test_a_busy_server_is_asked_again_and_an_absent_file_is_not(host: Host, tmp_path: Path) -> None:
    host.statuses = [503, 500]
    assert fetch(host.url, tmp_path / "one", wait=0).sha256 == SUM
    host.statuses, host.asked = [404, 404], []
    with pytest.raises(InputError, match="the server says HTTP Error 404"):
        fetch(host.url, tmp_path / "two", wait=0)
    assert len(host.asked) == 1
    assert names(tmp_path) == ["one"]


def test_a_server_that_is_down(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = host.url.replace("http://127.0.0.1", "http://127.0.0.2")
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    with pytest.raises(InputError, match="broke off 2 times"):
        fetch(url, tmp_path / "it", attempts=2, wait=0)


def test_another_sum_is_refused_and_nothing_stays(host: Host, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"has the SHA-256 {SUM} where {'0' * 64} was expected"):
        fetch(host.url, tmp_path / "it", sha256="0" * 64)
    assert "it" not in names(tmp_path)
    assert "it.part" not in names(tmp_path)


@pytest.mark.parametrize("announce", [True, False])
@pytest.mark.parametrize("difference", [-1, 1])
def test_another_size_is_refused(
    host: Host, tmp_path: Path, announce: bool, difference: int
) -> None:
    host.announce = announce
    with pytest.raises(InputError, match=r"bytes where \d+ were expected"):
        fetch(host.url, tmp_path / "it", size=len(CONTENT) + difference, wait=0)
    assert "it" not in names(tmp_path)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/x", "weights.tar", "", "data:,x", "/etc/passwd"]
)
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no address that can be fetched"):
        fetch(url, tmp_path / "it")


def test_a_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        fetch((tmp_path / "nothing.tar").as_uri(), tmp_path / "it", wait=1000)


def test_a_disk_without_room_is_refused_before_the_first_byte(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"only 0\.0 GB are free"):
        fetch(host.url, tmp_path / "it")
    assert names(tmp_path) == []


def test_a_disk_that_becomes_full_is_told(host: Host, tmp_path: Path) -> None:
    """A limit on the size of files fails as a full disk does, in the middle of a write."""
    program = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from gpulab.errors import InputError
        from gpulab.fold.fetch import fetch
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            fetch(sys.argv[1], Path(sys.argv[2]))
        except InputError as error:
            print(error)
    """)
    done = subprocess.run(
        # -B: the limit would cut compiled modules short as well.
        [sys.executable, "-B", "-c", program, host.url, tmp_path / "it"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "it.part cannot be written (File too large): make room" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1_000_000
    assert "it" not in names(tmp_path)
