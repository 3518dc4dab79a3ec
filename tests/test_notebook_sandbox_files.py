"""The files that a hostile notebook sees and changes under bubblewrap: its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_cage import KINDS, OPEN, Cage, cage_of, expected, needs_bubblewrap, sandboxed, states
from notebook_cage import cage as cage

from gpulab.errors import InputError
from gpulab.notebook.sandbox import place_inputs


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_the_server(kind: str, tmp_path: Path) -> None:
    cage = cage_of(kind, tmp_path)
    other = cage.top / "job two"
    other.mkdir()
    (other / "dataset_7.dat").write_text("somebody else's")
    results = cage.attempts(
        """
        secret, other = sys.argv[1:3]
        attempt("secret", lambda: open(secret).read())
        attempt("other", lambda: os.listdir(other))
        def by_link():
            os.symlink(secret, "harmless.txt")
            try:
                return open("harmless.txt").read()
            finally:
                os.unlink("harmless.txt")
        attempt("link", by_link)
        attempt("hard_link", lambda: os.link(secret, "hard.txt"))
        attempt("climb", lambda: open(os.path.relpath(secret)).read())
        """,
        cage.secret,
        other,
    )
    assert states(results) == dict.fromkeys(results, expected(kind))
    assert len(results) == 5


@needs_bubblewrap
def test_files_of_the_system(cage: Cage) -> None:
    home = Path.home()
    results = cage.attempts(
        """
        home = sys.argv[1]
        for name in ("/etc/shadow", "/etc/ssl/private", "/var/log", "/var/lib", "/home", "/srv",
                     "/run/docker.sock", "/run/dbus", "/sys/fs/cgroup", "/sys/kernel", "/boot",
                     "/etc/hostname", "/etc/resolv.conf", "/opt", "/mnt", "/usr/src",
                     home + "/.bashrc", home + "/.ssh", home + "/.cache", "/dev/kmsg", "/dev/mem"):
            attempt(name, lambda: os.stat(name))
        for name in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/fuse", "/dev/kvm", "/dev/net"):
            attempt(name, lambda: os.stat(name))
        for name in ("/dev/core", "/proc/kcore", "/proc/kmsg"):
            attempt(name, lambda: open(name, "rb").read(64))
        """,
        home,
    )
    worked = {name for name, (state, _) in results.items() if state == "worked"}
    assert worked == set()
    assert len(results) == 30


@needs_bubblewrap
def test_writing_outside(cage: Cage) -> None:
    before = cage.secret.read_text()
    results = cage.attempts(
        """
        secret, python, package = sys.argv[1:4]
        places = ["/", "/usr/bin", "/usr/lib", "/etc", "/dev", "/proc", "/run", "/root", "/var",
                  "/sys", python, package, os.path.dirname(secret), os.path.dirname(package),
                  os.path.dirname(os.getcwd())]
        for place in places:
            attempt(place, lambda: open(os.path.join(place, "was-here"), "w"))
        for name in ("core_pattern", "modprobe", "hostname", "panic"):
            attempt(name, lambda: open("/proc/sys/kernel/" + name, "r+b", 0).write(b"x"))
        attempt("oom", lambda: open("/proc/self/oom_score_adj", "w").write("-1000"))
        attempt("secret", lambda: open(secret, "a").write("x"))
        attempt("move", lambda: os.rename(os.getcwd(), os.getcwd() + "-moved"))
        """,
        cage.secret,
        sys.prefix,
        Path(__file__).parent.parent / "gpulab",
    )
    worked = {name for name, (state, _) in results.items() if state == "worked"}
    # This test's job lies in the host's /tmp: folders of that name are made in the job's own one.
    assert all(name == "secret" or name.startswith("/tmp/") for name in worked)
    assert cage.secret.read_text() == before
    assert not any((Path(name) / "was-here").exists() for name in results)
    assert cage.work.is_dir()
    assert len(results) == 22


@needs_bubblewrap
def test_what_may_be_written(cage: Cage) -> None:
    results = cage.attempts(
        """
        import tempfile
        home = os.environ["HOME"]
        for place in (".", "/tmp", "/var/tmp", "/dev/shm", home, tempfile.gettempdir()):
            attempt(place, lambda: open(os.path.join(place, "mine"), "w").write("x"))
        os.makedirs("folder/below")
        """
    )
    assert states(results) == dict.fromkeys(results, "worked"), results
    assert (cage.scratch / "tmp" / "mine").read_text() == "x"
    assert (cage.scratch / "home" / "mine").exists()
    assert (cage.work / "folder" / "below").is_dir()
    assert not Path("/tmp/mine").exists()
    assert not Path("/dev/shm/mine").exists()


def test_inputs_cannot_be_changed(tmp_path: Path) -> None:
    """In every kind: the file of the server stays as it is."""
    for kind in ["open", *(["bubblewrap"] if not needs_bubblewrap.args[0] else [])]:
        top = tmp_path / kind
        top.mkdir()
        original = top / "dataset 1.dat"
        original.write_bytes(b"the original")
        cage = cage_of(kind, top, inputs={"data/in put.h5": original})
        results = cage.attempts(
            """
            name = "data/in put.h5"
            attempt("read", lambda: open(name, "rb").read())
            attempt("append", lambda: open(name, "ab").write(b"x"))
            attempt("chmod", lambda: os.chmod(name, 0o777))
            attempt("truncate", lambda: os.truncate(name, 0))
            attempt("rename", lambda: os.rename(name, "data/other"))
            attempt("unlink", lambda: os.unlink(name))
            attempt("folder", lambda: os.rename("data", "moved"))
            attempt("again", lambda: open("moved/in put.h5", "wb").write(b"x"))
            """
        )
        assert results["read"] == ("worked", "b'the original'")
        assert original.read_bytes() == b"the original"
        assert original.stat().st_nlink == 1
        if kind == "bubblewrap":
            held = ("append", "chmod", "truncate", "rename", "unlink", "again")
            assert {name: results[name][0] for name in held} == dict.fromkeys(held, "failed")


def test_inputs_must_be_files_inside(tmp_path: Path) -> None:
    file = tmp_path / "in.dat"
    file.write_text("x")
    work = tmp_path / "work"
    work.mkdir()
    os.mkfifo(tmp_path / "pipe")
    for relative, path in {
        "../x": file,
        "/x": file,
        "a/../../x": file,
        "": file,
        "folder": tmp_path,
        "pipe": tmp_path / "pipe",
        "missing": tmp_path / "missing",
    }.items():
        with pytest.raises(InputError):
            place_inputs(OPEN, work, {relative: path})
    with pytest.raises(InputError, match="another path"):
        place_inputs(OPEN, work, {"a": file, "a/b": file})


@needs_bubblewrap
def test_descriptors_of_the_server_are_closed(tmp_path: Path) -> None:
    cage = Cage(tmp_path, sandboxed())
    with cage.secret.open() as secret, (cage.top / "job.log").open("w") as log:
        descriptor = os.dup(secret.fileno())
        os.set_inheritable(descriptor, True)
        code = """
        import os
        for name in os.listdir("/proc/self/fd"):
            try:
                print(os.readlink("/proc/self/fd/" + name))
            except OSError:
                pass
        """
        subprocess.run(
            cage.command(code), stdin=secret, stdout=log, close_fds=False, check=True, timeout=60
        )
        os.close(descriptor)
    assert (cage.top / "job.log").read_text() == ""
    seen = cage.log().split()
    assert not any("galaxy.yml" in name or "job.log" in name for name in seen), seen
    assert "/dev/null" in seen
