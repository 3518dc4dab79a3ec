"""Watching the processes of a notebook: what they take, and ending them when it is too much."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from gpulab.notebook.records import Sample
from gpulab.notebook.sandbox.gpus import Gpus
from gpulab.notebook.sandbox.memory import exact_use, quick_use, unmapped_use
from gpulab.notebook.sandbox.processes import Family, end_all

__all__ = ["Limits", "Watch", "end_all"]

MIB = 1024**2
INTERVAL = 0.15  # seconds between two looks at memory and processes
SAMPLE_SECONDS = 1.0
MAX_SAMPLES = 4000
DISK_SECONDS = 5.0
# The system is about to kill something when no more memory than this is left.
SPARE_MEMORY = 256 * MIB
SPARE_DISK = 512 * MIB

Breach = Callable[[str, str], None]


@dataclass(frozen=True)
class Limits:
    """What all processes of a notebook may take together.

    Attributes:
        memory_bytes: Memory that the system cannot get back, None for what the machine has.
        processes: Number at one moment.
        disk_bytes: Of all files in the job's folders, None for what the disk has.
        files: Number of files and folders in the job's folders.
    """

    memory_bytes: int | None = None
    processes: int = 512
    disk_bytes: int | None = None
    files: int = 1_000_000

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Limits:
        """Return the limits of a job; Galaxy says its memory in GALAXY_MEMORY_MB."""
        text = environ.get("GALAXY_MEMORY_MB", "")
        memory = int(text) * MIB if text.isascii() and text.isdigit() and int(text) > 0 else None
        return cls(memory_bytes=memory)


class Watch:
    """Looks at a kernel's processes several times a second, in threads of its own.

    Args:
        pid: The kernel's process id.
        limits: What is allowed.
        on_breach: Called once, in one of the threads, with the kind (`memory`, `processes`, `disk`,
            or `stopped` when the folders are gone) and a sentence. At that moment the kernel still
            lives: whoever notices its end knows why. `stop` waits until all processes are killed.
        folders: Folders whose size is watched.
        spare: Children of this process that have nothing to do with the kernel.
    """

    def __init__(
        self,
        pid: int,
        limits: Limits,
        on_breach: Breach,
        *,
        folders: Sequence[Path] = (),
        spare: Collection[int] = (),
    ) -> None:
        self._limits = limits
        self._on_breach = on_breach
        self._folders = list(folders)
        self._family = Family(pid, spare)
        self._gpus = Gpus()
        self._began = time.monotonic()
        self._every = SAMPLE_SECONDS
        self._samples: list[Sample] = []
        self._peak = Sample(0.0, 0, 0)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._breached = False
        self._threads = [
            threading.Thread(target=self._watch_processes, name="watch-processes", daemon=True),
            threading.Thread(target=self._watch_disk, name="watch-disk", daemon=True),
        ]

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    @property
    def samples(self) -> list[Sample]:
        """What was seen, about once a second; in a long job at larger and equal distances."""
        with self._lock:
            return list(self._samples)

    def peak(self) -> Sample:
        """Return the largest value of each kind, with the moment of the largest memory."""
        with self._lock:
            return self._peak

    def _watch_processes(self) -> None:
        next_sample = 0.0
        while not self._stop.wait(INTERVAL):
            members = self._family.members()
            if not members:
                continue
            if len(members) > self._limits.processes:
                self._end(
                    "processes",
                    f"The notebook was ended because it ran {len(members)} processes at one time,"
                    f" more than the {self._limits.processes} that are allowed.",
                )
                return
            now = time.monotonic() - self._began
            due = now >= next_sample
            if due and not all(folder.is_dir() for folder in self._folders):
                # A cancelled job's container may not be told: the server kills its client alone.
                self._end("stopped", "The server has ended the job and removed its folder.")
                return
            memory = self._look_at_memory(members, exact=due)
            self._note(Sample(now, memory, len(members)), members, keep=due)
            if due:
                self._family.reap()
                next_sample = now + self._every
            if self._check_memory(memory):
                return

    def _look_at_memory(self, members: Sequence[int], *, exact: bool) -> int:
        limit = self._limits.memory_bytes
        use = quick_use(members)
        unmapped = unmapped_use(members)
        total = use.anonymous + max(use.shared, unmapped)
        if len(members) > 1 and (exact or (limit is not None and total > limit)):
            use = exact_use(members)
            total = use.anonymous + max(use.shared, unmapped)
        return total

    def _check_memory(self, memory: int) -> bool:
        limit = self._limits.memory_bytes
        if limit is not None and memory > limit:
            self._end(
                "memory",
                f"The notebook was ended because it took {memory / MIB:.0f} MB of memory, more than"
                f" the {limit / MIB:.0f} MB of this job: use less data at a time, a smaller batch,"
                " or a job with more memory.",
            )
            return True
        if psutil.virtual_memory().available < SPARE_MEMORY:
            self._end(
                "memory",
                f"The notebook was ended at {memory / MIB:.0f} MB because the machine had hardly"
                " any memory left: use less data at a time or a smaller batch.",
            )
            return True
        return False

    def _note(self, sample: Sample, members: Sequence[int], *, keep: bool) -> None:
        if keep:
            gpu_memory, gpu_percent = self._gpus.look(members)
            sample = replace(sample, gpu_memory_bytes=gpu_memory, gpu_percent=gpu_percent)
        with self._lock:
            self._peak = _larger(self._peak, sample)
            if keep:
                self._samples.append(sample)
                if len(self._samples) >= MAX_SAMPLES:
                    self._every *= 2
                    self._samples = _halved(self._samples)

    def _watch_disk(self) -> None:
        pause = min(1.0, DISK_SECONDS)
        while not self._stop.wait(pause):
            began = time.monotonic()
            sentence = self._check_disk()
            if sentence and not self._stop.is_set():
                self._end("disk", sentence)
                return
            # Folders with very many files shall not keep the disk busy.
            pause = max(DISK_SECONDS, 20 * (time.monotonic() - began))

    def _check_disk(self) -> str:
        size, count = measure_folders(self._folders, self._limits.files)
        limit = self._limits.disk_bytes
        if limit is not None and size > limit:
            return (
                f"The notebook was ended because it wrote {size / MIB:.0f} MB, more than the"
                f" {limit / MIB:.0f} MB that are allowed."
            )
        if count > self._limits.files:
            return (
                f"The notebook was ended because it made more than {self._limits.files} files and"
                " folders."
            )
        for folder in self._folders:
            with suppress(FileNotFoundError):  # the job's folders are gone: seen elsewhere
                if psutil.disk_usage(str(folder)).free < SPARE_DISK and size > SPARE_DISK:
                    return (
                        f"The notebook was ended because the disk is full, after it wrote"
                        f" {size / MIB:.0f} MB."
                    )
        return ""

    def _end(self, kind: str, sentence: str) -> None:
        with self._lock:
            if self._breached:
                return
            self._breached = True
        self._stop.set()
        self._on_breach(kind, sentence)
        self._family.end()


def measure_folders(folders: Sequence[Path], most: int) -> tuple[int, int]:
    """Return the bytes on disk and the number of all that lies in folders; follows no link.

    Args:
        folders: The folders, which somebody may be changing.
        most: Stop counting above this number.
    """
    size = count = 0
    waiting = [str(folder) for folder in folders]
    while waiting and count <= most:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if count > most:
                        break
        except OSError:  # removed meanwhile, or made unreadable
            continue
    return size, count


def _larger(one: Sample, other: Sample) -> Sample:
    more = other if other.memory_bytes > one.memory_bytes else one
    return Sample(
        more.seconds,
        more.memory_bytes,
        max(one.processes, other.processes),
        max((one.gpu_memory_bytes, other.gpu_memory_bytes), key=lambda value: value or -1),
        max((one.gpu_percent, other.gpu_percent), key=lambda value: value or -1.0),
    )


def _halved(samples: Sequence[Sample]) -> list[Sample]:
    """Return half as many samples: of each pair the one with more memory."""
    pairs = zip(samples[::2], samples[1::2], strict=False)
    return [max(pair, key=lambda sample: sample.memory_bytes) for pair in pairs]
