"""Programs that take too much, in the sandbox and in the open: they end, and nothing else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from notebook_cage import KINDS, Cage, cage_of, needs_bubblewrap

from gpulab.notebook.records import Sample
from gpulab.notebook.sandbox import become_reaper, end_all
from gpulab.notebook.watch import Limits, Watch, _halved, measure_folders

MIB = 1024**2
TOUCH = "import os, sys, time\nopen('ready', 'w').close()\n"


@pytest.fixture(autouse=True)
def reaper() -> Iterator[None]:
    """As in a job: whoever leaves its family becomes a child of this process."""
    become_reaper()
    yield


@dataclass
class Guarded:
    """A program that runs under a watch."""

    cage: Cage
    process: subprocess.Popen[bytes]
    watch: Watch
    breaches: list[tuple[str, str]] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def marker(self) -> str:
        return str(self.cage.work)

    def left(self) -> list[psutil.Process]:
        """Processes of the program that are still there, found by their folder."""
        found = []
        for process in psutil.process_iter(["pid", "status"]):
            try:
                folder = Path(f"/proc/{process.pid}/cwd").readlink()
            except OSError:
                continue
            if str(folder) == self.marker() and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


Guard = Callable[..., Guarded]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    running: list[Guarded] = []

    def start(kind: str, code: str, limits: Limits, *arguments: str) -> Guarded:
        cage = cage_of(kind, tmp_path)
        process = cage.start(TOUCH + code, *arguments)
        breaches: list[tuple[str, str]] = []
        told = threading.Event()

        def note(what: str, sentence: str) -> None:
            breaches.append((what, sentence))
            told.set()

        watch = Watch(process.pid, limits, note, folders=[cage.work, cage.scratch])
        watch.start()
        guarded = Guarded(cage, process, watch, breaches, told)
        running.append(guarded)
        deadline = time.monotonic() + 60
        while not (cage.work / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return guarded

    yield start
    for guarded in running:
        guarded.watch.stop()
        end_all(guarded.process.pid)
        guarded.process.wait()


def assert_ended(guarded: Guarded, kind: str) -> None:
    assert guarded.told.wait(60), guarded.cage.log()
    guarded.watch.stop()
    assert [what for what, _ in guarded.breaches] == [kind]
    assert guarded.process.wait(10) != 0
    assert guarded.left() == []


# Each takes memory up to 3 GB and then waits; the limit must end it long before.
# About a gigabyte a second, so that a watch on a busy machine looks before all of it is held.
BOMBS = {
    "bytes": """
held = []
for _ in range(300):
    held.append(os.urandom(1024) * 10240)
    time.sleep(0.01)
""",
    "shared_memory": """
with open("/dev/shm/gpulab-test-bomb", "wb") as file:
    for _ in range(190):
        file.write(os.urandom(1024) * 10240)
        time.sleep(0.01)
""",
    "nameless_file": """
held = os.memfd_create("bomb")
for _ in range(300):
    os.write(held, os.urandom(1024) * 10240)
    time.sleep(0.01)
""",
    "children": """
for _ in range(6):
    if os.fork() == 0:
        held = []
        for _ in range(50):
            held.append(os.urandom(1024) * 10240)
            time.sleep(0.05)
        time.sleep(60)
        os._exit(0)
""",
}


@pytest.mark.parametrize("bomb", BOMBS)
@needs_bubblewrap
def test_memory_bomb(bomb: str, guard: Guard) -> None:
    limits = Limits(memory_bytes=500 * MIB)
    guarded = guard("bubblewrap", BOMBS[bomb] + "time.sleep(60)\n", limits)
    assert_ended(guarded, "memory")
    assert "500 MB of this job" in guarded.breaches[0][1]
    assert 500 * MIB < guarded.watch.peak().memory_bytes < 2500 * MIB


def test_memory_bomb_in_the_open(guard: Guard) -> None:
    guarded = guard("open", BOMBS["bytes"] + "time.sleep(60)\n", Limits(memory_bytes=500 * MIB))
    assert_ended(guarded, "memory")


@pytest.mark.parametrize("kind", KINDS)
def test_what_processes_share_counts_once(kind: str, guard: Guard) -> None:
    code = """
held = [os.urandom(1024) * 10240 for _ in range(30)]
for _ in range(5):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
time.sleep(60)
"""
    guarded = guard(kind, code, Limits(memory_bytes=700 * MIB))
    time.sleep(3)
    assert guarded.breaches == []
    assert guarded.watch.peak().processes >= 6
    last = guarded.watch.samples[-1]
    assert 300 * MIB < last.memory_bytes < 450 * MIB


def test_pages_of_files_do_not_count(guard: Guard, tmp_path: Path) -> None:
    """A notebook may map a file larger than its memory."""
    code = """
import mmap
with open("large", "wb") as file:
    for _ in range(60):
        file.write(os.urandom(1024) * 10240)
file = open("large", "rb")
held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
total = sum(held[place] for place in range(0, len(held), 4096))
open("read", "w").close()
time.sleep(60)
"""
    guarded = guard("open", code, Limits(memory_bytes=300 * MIB))
    deadline = time.monotonic() + 60
    while not (guarded.cage.work / "read").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert (guarded.cage.work / "read").exists()
    assert guarded.breaches == []


FORK_BOMB = """
count = 0
while count < 3000:
    try:
        if os.fork() == 0:
            time.sleep(120)
            os._exit(0)
        count += 1
    except OSError:
        time.sleep(0.01)
time.sleep(120)
"""
# Each child forks again, in a session of its own, and the parents go away. Where the system allows
# no more, it waits: dying then, all would be gone before anybody looked.
FLEEING_BOMB = """
def fork():
    while True:
        try:
            return os.fork()
        except OSError:
            time.sleep(0.01)

if fork():
    time.sleep(120)
began = time.monotonic()
for generation in range(12):
    for _ in range(2):
        if fork() == 0:
            os.setsid()
            break
    else:
        os._exit(0)
    if time.monotonic() - began > 20:
        break
time.sleep(60)
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bomb", [FORK_BOMB, FLEEING_BOMB], ids=["many", "fleeing"])
def test_fork_bomb(kind: str, bomb: str, guard: Guard) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    # A child of this process that began before the kernel is none of its family.
    time.sleep(0.1)
    guarded = guard(kind, bomb, Limits(processes=200))
    assert_ended(guarded, "processes")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_daemons_that_came_and_went_do_not_count(guard: Guard) -> None:
    code = """
for _ in range(100):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    os.wait()
open("done", "w").close()
time.sleep(120)
"""
    guarded = guard("open", code, Limits())
    deadline = time.monotonic() + 30
    zombies = 100
    while zombies and time.monotonic() < deadline:
        time.sleep(0.2)
        if (guarded.cage.work / "done").exists():
            children = psutil.Process().children()
            zombies = sum(one.status() == psutil.STATUS_ZOMBIE for one in children)
    assert zombies == 0
    assert guarded.breaches == []


@pytest.mark.parametrize("kind", KINDS)
def test_daemon_does_not_survive(kind: str, guard: Guard) -> None:
    code = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        open("daemon", "w").write(str(os.getppid()))
        time.sleep(120)
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(1)
os._exit(0)
"""
    guarded = guard(kind, code, Limits())
    guarded.process.wait(30)
    assert (guarded.cage.work / "daemon").exists()
    if kind == "open":
        assert guarded.left(), "the daemon should live before the end"
    began = time.monotonic()
    end_all(guarded.process.pid)
    assert time.monotonic() - began < 5
    assert guarded.left() == []
    # The exit code is still there for who started the program.
    assert guarded.process.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_disk(kind: str, guard: Guard) -> None:
    code = """
with open("large", "wb") as file:
    for _ in range(30):
        file.write(os.urandom(1024) * 10240)
time.sleep(60)
"""
    guarded = guard(kind, code, Limits(disk_bytes=100 * MIB))
    assert_ended(guarded, "disk")
    assert "100 MB that are allowed" in guarded.breaches[0][1]


def test_many_files(guard: Guard) -> None:
    code = """
for number in range(3000):
    open(f"file{number}", "w").close()
time.sleep(60)
"""
    guarded = guard("open", code, Limits(files=2000))
    assert_ended(guarded, "disk")


def test_removed_folder(guard: Guard) -> None:
    """What a container notices of its job being cancelled."""
    guarded = guard("open", "time.sleep(60)\n", Limits())
    time.sleep(1.5)
    assert guarded.breaches == []
    shutil.rmtree(guarded.cage.top)
    assert_ended(guarded, "stopped")


def test_measures_no_links_and_no_holes(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to("/usr")
    with (inside / "sparse").open("wb") as file:
        file.truncate(10**12)
    os.mkfifo(inside / "pipe")
    size, count = measure_folders([inside], 1000)
    assert count == 3
    assert size < MIB
    assert measure_folders([inside], 1)[1] == 2


def test_ends_in_order_without_a_breach(guard: Guard) -> None:
    guarded = guard("open", "time.sleep(2.5)\n", Limits(memory_bytes=500 * MIB))
    assert guarded.process.wait(30) == 0
    guarded.watch.stop()
    assert guarded.breaches == []
    seconds = [sample.seconds for sample in guarded.watch.samples]
    assert len(seconds) >= 2
    assert seconds == sorted(seconds)
    assert MIB < guarded.watch.peak().memory_bytes < 100 * MIB


def test_long_jobs_keep_few_samples() -> None:
    samples = [Sample(float(number), number % 7, 1) for number in range(100)]
    half = _halved(samples)
    assert len(half) == 50
    assert max(sample.memory_bytes for sample in half) == 6
    assert [sample.seconds for sample in half] == sorted(sample.seconds for sample in half)


@pytest.mark.parametrize(
    ("text", "memory"), [("4096", 4096 * MIB), ("", None), ("0", None), ("-1", None), ("x", None)]
)
def test_memory_that_galaxy_gives(text: str, memory: int | None) -> None:
    limits = Limits.from_environment({"GALAXY_MEMORY_MB": text})
    assert limits.memory_bytes == memory
    assert limits.processes == 512
