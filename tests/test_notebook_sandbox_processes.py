"""What a hostile notebook learns of and does to users and processes under bubblewrap: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from notebook_cage import KINDS, Cage, cage_of, expected, needs_bubblewrap, states
from notebook_cage import cage as cage

from gpulab.notebook.sandbox import describe_end, kernel_command, kernel_environment


@needs_bubblewrap
def test_accounts_of_the_system_are_not_shown(cage: Cage) -> None:
    results = cage.attempts(
        """
        import getpass, pwd
        attempt("names", lambda: [one.pw_name for one in pwd.getpwall()])
        attempt("me", getpass.getuser)
        attempt("host", lambda: os.uname().nodename)
        """
    )
    assert results == {
        "names": ("worked", "['notebook']"),
        "me": ("worked", "'notebook'"),
        "host": ("worked", "'notebook'"),
    }


SECRETS = {
    "GALAXY_API_KEY": "k-123",
    "GALAXY_URL": "https://galaxy.example",
    "DATABASE_CONNECTION": "postgresql://galaxy:pw@db/galaxy",
    "SSH_AUTH_SOCK": "/run/agent",
    "AWS_SECRET_ACCESS_KEY": "s-1",
    "CUDA_LICENCE_TOKEN": "t-1",
    "TF_CLI_CONFIG_FILE": "/etc/terraform",
}


@pytest.mark.parametrize("kind", KINDS)
def test_variables(kind: str, tmp_path: Path) -> None:
    variables = {**os.environ, **SECRETS, "GALAXY_SLOTS": "3", "CUDA_VISIBLE_DEVICES": ""}
    cage = cage_of(kind, tmp_path, environ=variables)
    results = cage.attempts("attempt('all', lambda: json.dumps(dict(os.environ)))")
    seen = json.loads(results["all"][1].strip("'")) if len(results["all"][1]) < 2000 else {}
    assert not set(SECRETS) & set(seen)
    whole = kernel_environment(variables, cage.scratch)
    assert whole["GALAXY_SLOTS"] == "3"
    assert whole["CUDA_VISIBLE_DEVICES"] == ""
    assert not {*SECRETS.values()} & {*whole.values()}
    assert Path(whole["HOME"]).is_relative_to(cage.scratch)


@pytest.mark.parametrize("kind", KINDS)
def test_variables_of_other_processes(kind: str, tmp_path: Path) -> None:
    """Every variable that any process shows is searched for one that only the server has."""
    cage = cage_of(kind, tmp_path, environ={**os.environ, **SECRETS})
    server = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, **SECRETS}
    )
    try:
        results = cage.attempts(
            """
            import glob
            def search():
                threads = glob.glob("/proc/[0-9]*/task/*/environ")
                for name in glob.glob("/proc/[0-9]*/environ") + threads:
                    try:
                        text = open(name, "rb").read()
                    except OSError:
                        continue
                    if b"k-" + b"123" in text:
                        return name
                raise LookupError("nowhere")
            attempt("search", search)
            """
        )
    finally:
        server.kill()
        server.wait()
    assert states(results) == {"search": expected(kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_other_processes(kind: str, tmp_path: Path) -> None:
    cage = cage_of(kind, tmp_path)
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        results = cage.attempts(
            """
            import ctypes, signal
            victim, parent = int(sys.argv[1]), int(sys.argv[2])
            attempt("see", lambda: open(f"/proc/{victim}/cmdline").read())
            attempt("parent", lambda: os.listdir(f"/proc/{parent}/fd"))
            attempt("descriptor", lambda: os.pidfd_open(victim))
            attempt("kill", lambda: os.kill(victim, signal.SIGKILL))
            """,
            victim.pid,
            os.getpid(),
        )
        # The number may exist inside as well, as one of the program's own few processes.
        ended = victim.poll()
        time.sleep(0.2)
        ended = victim.poll()
    finally:
        victim.kill()
        victim.wait()
    assert states(results) == dict.fromkeys(results, expected(kind))
    assert ended == (None if kind == "bubblewrap" else -signal.SIGKILL)


@needs_bubblewrap
def test_privileges(cage: Cage) -> None:
    results = cage.attempts(
        """
        import ctypes, subprocess
        libc = ctypes.CDLL(None, use_errno=True)
        def call(name, *arguments):
            if getattr(libc, name)(*arguments) == -1:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
        status = open("/proc/self/status").read()
        lines = [line.split() for line in status.splitlines()]
        attempt("no_capabilities", lambda: [line[1].strip("0") for line in lines if line and
                                            line[0] in ("CapEff:", "CapPrm:", "CapBnd:")])
        attempt("locked", lambda: "NoNewPrivs:\\t1" in status)
        attempt("user_namespace", lambda: call("unshare", CLONE_NEWUSER))
        attempt("mount_namespace", lambda: call("unshare", CLONE_NEWNS))
        attempt("net_namespace", lambda: call("unshare", CLONE_NEWNET))
        attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
        attempt("remount", lambda: call("mount", b"none", b"/", None, 0x1020, None))
        attempt("umount", lambda: call("umount2", b"/proc", 2))
        attempt("chroot", lambda: call("chroot", b"/tmp"))
        attempt("enter_first", lambda: call("setns", os.open("/proc/1/ns/user", os.O_RDONLY), 0))
        attempt("unshare", lambda: subprocess.run(["unshare", "-Ur", "true"], check=True))
        attempt("device", lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)))
        attempt("setuid", lambda: os.setuid(12345))
        """
    )
    assert results.pop("no_capabilities") == ("worked", "['', '', '']")
    assert results.pop("locked") == ("worked", "True")
    assert states(results) == dict.fromkeys(results, "failed"), results


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_the_process(kind: str, tmp_path: Path) -> None:
    cage = cage_of(kind, tmp_path)
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))\n"
    code += "print(open('/proc/self/oom_score_adj').read())\n"
    code += "open('big', 'wb').truncate(2_000_000)"
    command = kernel_command(
        cage.isolation,
        [sys.executable, "-u", "-c", code],
        work=cage.work,
        scratch=cage.scratch,
        sockets=cage.sockets,
        inputs={},
        environment=kernel_environment({}, cage.scratch),
        largest_file=1_000_000,
    )
    subprocess.run(command, check=False, timeout=60)
    assert cage.log().startswith("(0, 0)\n1000\n")
    assert (cage.work / "big").stat().st_size <= 1_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_ends_with_the_job(kind: str, tmp_path: Path) -> None:
    """Galaxy kills the job with SIGKILL: nothing of the notebook goes on."""
    cage = cage_of(kind, tmp_path)
    outer = f"""
import subprocess, sys, time
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}
import notebook_cage
from pathlib import Path
cage = notebook_cage.Cage(Path({str(tmp_path / "inner")!r}),
    notebook_cage.sandboxed() if {kind!r} == "bubblewrap" else notebook_cage.OPEN)
process = cage.start("import time; open('alive', 'w').close(); time.sleep(600)")
time.sleep(600)
"""
    job = subprocess.Popen([sys.executable, "-c", outer])
    alive = tmp_path / "inner" / "job one" / "notebook" / "alive"
    deadline = time.monotonic() + 60
    while not alive.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive.exists()
    below = psutil.Process(job.pid).children(recursive=True)
    assert below
    job.kill()
    job.wait()
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == []
    assert cage.secret.exists()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0, "ended"),
        (137, "memory"),
        (-9, "memory"),
        (-11, "crash"),
        (139, "crash"),
        (134, "crash"),
        (-15, "killed"),
        (153, "killed"),
        (3, "failed"),
        (255, "failed"),
        (None, "killed"),
    ],
)
def test_how_a_kernel_ended(code: int | None, kind: str) -> None:
    end = describe_end(code)
    assert end.kind == kind
    assert end.sentence.endswith(".")
