"""Runs `colabfold_batch`, once for single chains and once for complexes, and checks what it wrote.

ColabFold ends with exit code 0 when it folded nothing, and one complex in a batch makes it fold all
of it with the networks for complexes. So each kind gets a process of its own, and a query counts as
folded when its structures and scores are there and can be read.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.fold.a3m import Alignment, read_a3m
from gpulab.fold.cif import check_atoms, read_atoms
from gpulab.fold.options import FoldOptions
from gpulab.fold.programs import colabfold
from gpulab.fold.run_environment import environment
from gpulab.fold.run_input import Job
from gpulab.fold.run_log import Failure, LogReader
from gpulab.fold.run_templates import copy_templates
from gpulab.fold.scores import Fold, OutputError, read_models

KILLED = (-9, 137)
# ColabFold's own numbers of sequences for each type of model (`run` in 1.6.3).
_MSA_LIMITS = {"alphafold2_multimer_v1": (252, 1152), "alphafold2_multimer_v2": (252, 1152)}
_MSA_LIMITS["alphafold2_multimer_v3"] = (508, 2048)
_MSA_LIMIT = (512, 5120)
_TEMPLATE_ROWS = 4  # templates add so many rows to an alignment

Tell = Callable[[str], None]


@dataclass
class Batch:
    """Queries that ColabFold folds in one go with one type of model.

    Attributes:
        jobs: The queries by their names for ColabFold.
        model_type: The type of model.
        folder: Folder of its input, templates and results.
    """

    jobs: dict[str, Job]
    model_type: str
    folder: Path

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.folder / "results"


@dataclass
class Outcome:
    """What came out of a run.

    Attributes:
        folds: Every query in the user's order, folded or with a note that says why not.
        device: Where the networks ran.
        out_of_memory: Whether more memory would have helped with all that failed.
        alignments: The alignment of each folded query as ColabFold used it, by name.
        results: The folders with all that ColabFold wrote, and its name there, by name.
    """

    folds: list[Fold]
    device: str
    out_of_memory: bool
    alignments: dict[str, Alignment]
    results: dict[str, tuple[Path, str]]


def make_batches(jobs: Sequence[Job], options: FoldOptions, folder: Path) -> list[Batch]:
    """Divide the queries that have no problem into single chains and complexes."""
    batches = []
    for is_complex, name in ((False, "chains"), (True, "complexes")):
        chosen = [job for job in jobs if not job.problem and job.is_complex == is_complex]
        if chosen:
            numbered = {f"q{number:04d}": job for number, job in enumerate(chosen, start=1)}
            model_type = options.model_type_of(is_complex=is_complex)
            batches.append(Batch(numbered, model_type, folder / name))
    return batches


def run_batches(
    jobs: Sequence[Job], batches: Sequence[Batch], options: FoldOptions, log: Path, tell: Tell
) -> Outcome:
    """Fold all batches one after the other.

    Args:
        jobs: All queries, those with a problem among them.
        batches: Those without, see `make_batches`.
        options: What the user chose.
        log: File to which ColabFold's own messages go.
        tell: Receives progress lines.
    """
    total = sum(len(batch.jobs) for batch in batches)
    done = 0
    folded: dict[str, Fold] = {}
    outcome = Outcome([], "", False, {}, {})
    failures: list[Failure] = []
    for batch in batches:
        runner = _Runner(batch, options, log, tell, done, total)
        runner.run()
        done += len(batch.jobs)
        outcome.device = outcome.device or runner.reader.device
        for key, job in batch.jobs.items():
            fold, alignment = runner.result(key)
            folded[job.name] = fold
            outcome.results[job.name] = (batch.results, key)
            if alignment is not None:
                outcome.alignments[job.name] = alignment
        failures += runner.reader.failures.values()
    for job in jobs:
        failed = Fold(job.name, job.label, job.chains, note=job.problem)
        outcome.folds.append(folded.get(job.name, failed))
    input_problems = any(job.problem for job in jobs)
    memory = [failure.out_of_memory for failure in failures]
    outcome.out_of_memory = bool(memory) and all(memory) and not input_problems
    return outcome


def _how_it_ended(code: int, last: str) -> str:
    if code >= 0:
        return f"ColabFold ended with {last!r}"
    name = signal.strsignal(-code) or str(-code)
    return f"ColabFold was ended by a signal ({name}) after {last!r}"


class _Runner:
    """Runs ColabFold on one batch, again after a query that ended it."""

    def __init__(
        self, batch: Batch, options: FoldOptions, log: Path, tell: Tell, done: int, total: int
    ) -> None:
        self.batch, self.options, self.log, self.tell = batch, options, log, tell
        # ColabFold folds short queries first.
        order = sorted(batch.jobs, key=lambda key: batch.jobs[key].length)
        titles = {
            key: f"Query {done + place} of {total}: {batch.jobs[key].name} "
            f"({batch.jobs[key].length} residues, {batch.model_type})"
            for place, key in enumerate(order, start=1)
        }
        self.reader = LogReader(titles, tell)

    def run(self) -> None:
        """Fold the batch; what went wrong is in `self.reader.failures`."""
        self.batch.folder.mkdir(parents=True)
        self.batch.results.mkdir()
        if self.options.templates:
            copy_templates(self.options.templates, self.batch.folder / "templates")
        remaining = dict(self.batch.jobs)
        while remaining:
            self.reader.current = ""
            code = self._run_once(remaining)
            if code == 0:
                return
            ended = self.reader.current
            killed = code in KILLED
            reason = "memory ran out" if killed else _how_it_ended(code, self.reader.last[:300])
            for key in [ended] if ended and not killed else list(remaining):
                if not self._is_done(key):
                    self.reader.failures.setdefault(key, Failure(reason, killed))
            if not ended or killed:
                # It ended before the first query, or longer ones would need still more memory.
                return
            remaining = {
                key: job
                for key, job in remaining.items()
                if key not in self.reader.failures and not self._is_done(key)
            }

    def _is_done(self, key: str) -> bool:
        return (self.batch.results / f"{key}.done.txt").is_file()

    def _run_once(self, jobs: Mapping[str, Job]) -> int:
        source = _write_input(jobs, self.batch.folder)
        command = self.command(source, jobs)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(self.batch.folder),
                text=True,
                encoding="utf-8",
                errors="replace",
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    log.write(line)
                    self.reader.feed(line)
        return process.returncode

    def command(self, source: Path, jobs: Mapping[str, Job]) -> list[str]:
        """Return ColabFold's command line."""
        options = self.options
        command = [sys.executable, str(colabfold("colabfold_batch")), str(source)]
        command += [str(self.batch.results), "--data", str(options.weights.folder)]
        command += ["--model-type", self.batch.model_type, *options.arguments]
        # Our own pictures take their place.
        command += ["--skip-output", "plots"]
        if options.single_sequence:
            command += ["--msa-mode", "single_sequence"]
        if options.templates:
            command += ["--templates", "--custom-template-path"]
            command += [str(self.batch.folder / "templates")]
        max_msa = options.max_msa or self._shallow_msa(jobs)
        return [*command, "--max-msa", max_msa] if max_msa else command

    def _shallow_msa(self, jobs: Mapping[str, Job]) -> str:
        """Return the MSA size of a batch whose alignments are all shallower than ColabFold's.

        ColabFold cuts the size to the alignment where there is one query, and computes thousands
        of empty rows where there are several.
        """
        if self.options.single_sequence or len(jobs) == 1:
            return ""
        clusters, extra = _MSA_LIMITS.get(self.batch.model_type, _MSA_LIMIT)
        rows = max(job.depth for job in jobs.values())
        rows += _TEMPLATE_ROWS if self.options.templates else 0
        first = min(rows, clusters)
        return f"{first}:{max(min(rows - first, extra), 1)}"

    def result(self, key: str) -> tuple[Fold, Alignment | None]:
        """Read and check what ColabFold wrote for a query."""
        job = self.batch.jobs[key]
        failure = self.reader.failures.get(key)
        if failure is None:
            try:
                return self._read(key, job)
            except OutputError as error:
                failure = Failure(str(error))
                self.reader.failures[key] = failure
        note = f"The query {job.label[:80]!r} was not folded: {failure.reason}"
        return Fold(job.name, job.label, job.chains, note=note), None

    def _read(self, key: str, job: Job) -> tuple[Fold, Alignment]:
        timings = self.reader.timings.get(key, {})
        models = read_models(self.batch.results, key, job.length, timings)
        for model in models:
            for structure in filter(None, (model.structure, model.relaxed)):
                check_atoms(read_atoms(structure), job.chains)
        path = self.batch.results / f"{key}.a3m"
        alignment = read_a3m(path, job.label)
        depth = min(chain.depth for chain in alignment.chains)
        return Fold(job.name, job.label, job.chains, models, depth, path), alignment


def _write_input(jobs: Mapping[str, Job], folder: Path) -> Path:
    """Write what ColabFold reads: a FASTA file, or a folder of alignments."""
    if any(job.alignment is not None for job in jobs.values()):
        target = folder / "input"
        target.mkdir(exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        for key, job in jobs.items():
            assert job.alignment is not None
            (target / f"{key}.a3m").symlink_to(job.alignment.resolve())
        return target
    target = folder / "input.fasta"
    lines = [f">{key}\n{':'.join(job.chains)}\n" for key, job in jobs.items()]
    target.write_text("".join(lines), encoding="ascii")
    return target
