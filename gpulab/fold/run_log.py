"""Reads ColabFold's log line by line: progress for people, times, and what went wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<text>.*)$")
_QUERY = re.compile(r"Query \d+/\d+: (?P<key>\S+) \(length \d+\)")
_TAG = r"(?P<tag>(?P<type>\w+)_model_(?P<model>\d)_seed_(?P<seed>\d{3,}))"
_RECYCLE = re.compile(_TAG + r" recycle=(?P<recycle>\d+)(?P<scores>.*)")
_TOOK = re.compile(_TAG + r" took (?P<seconds>[\d.]+)s \((?P<recycles>\d+) recycles\)")
_RELAXED = re.compile(r"Relaxation took (?P<seconds>[\d.]+)s")
_RANKED = re.compile(r"rank_(?P<rank>\d{3,})_" + _TAG + r"(?P<scores>.*)")
_TEMPLATES = re.compile(r"Sequence (?P<number>\d+) found (?P<what>no templates|templates: .*)")
_FAILURES = (
    # The text of ColabFold, and what it means to the user.
    (re.compile(r"Could not get MSA/templates for (?P<key>\S+): (?P<why>.*)"),
     "its alignment or the templates could not be used"),
    (re.compile(r"Could not generate input features (?P<key>\S+): (?P<why>.*)"),
     "its alignment could not be used"),
    (re.compile(r"Could not predict (?P<key>\S+)\. Not Enough GPU memory\? (?P<why>.*)"),
     "the network could not be run"),
)  # fmt: skip
OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|out of memory|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True)
class Failure:
    """Why a query was not folded.

    Attributes:
        reason: The end of a sentence.
        out_of_memory: Whether more memory would have helped.
    """

    reason: str
    out_of_memory: bool = False


@dataclass
class LogReader:
    """Takes ColabFold's lines one after the other.

    Attributes:
        titles: What to call each query in progress lines, by its name for ColabFold.
        tell: Receives progress lines.
        timings: Seconds and recycles of each model of each query.
        failures: Why queries were not folded, by name.
        current: The query that is folded now; empty before the first.
        device: `CPU` or `GPU`; empty before ColabFold says so.
        last: The last line that is not empty.
    """

    titles: Mapping[str, str]
    tell: Callable[[str], None]
    timings: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    current: str = ""
    device: str = ""
    last: str = ""

    def feed(self, line: str) -> None:
        """Take a line."""
        stamped = _STAMP.match(line.rstrip())
        text = stamped["text"] if stamped else line.strip()
        if text:
            self.last = text
        if stamped:
            self._read(text)

    def _read(self, text: str) -> None:
        if found := _QUERY.fullmatch(text):
            self.current = found["key"]
            self.timings.setdefault(self.current, {})
            self.tell(self._title())
        elif found := _RECYCLE.fullmatch(text):
            self.tell(f"  {_model(found)}, recycle {found['recycle']}:{_scores(found['scores'])}")
        elif found := _TOOK.fullmatch(text):
            seconds = float(found["seconds"])
            self.timings[self.current][found["tag"]] = (seconds, int(found["recycles"]))
            self.tell(f"  {_model(found)}: {seconds:.1f} s")
        elif found := _RELAXED.fullmatch(text):
            self.tell(f"  relaxed in {float(found['seconds']):.1f} s")
        elif found := _RANKED.fullmatch(text):
            self.tell(f"  rank {int(found['rank'])}: {_model(found)},{_scores(found['scores'])}")
        elif found := _TEMPLATES.fullmatch(text):
            self.tell(f"  chain {int(found['number']) + 1}: {found['what']}")
        elif text == "Running on GPU":
            self.device = "GPU"
        elif text.startswith("WARNING: no GPU detected"):
            self.device = "CPU"
        else:
            self._read_failure(text)

    def _read_failure(self, text: str) -> None:
        for pattern, meaning in _FAILURES:
            found = pattern.fullmatch(text)
            if found is None:
                continue
            memory = bool(OUT_OF_MEMORY.search(found["why"]))
            reason = "memory ran out" if memory else f"{meaning} ({found['why'].strip()[:300]})"
            self.failures[found["key"]] = Failure(reason, memory)
            self.tell(f"  not folded: {reason}")

    def _title(self) -> str:
        return self.titles.get(self.current, self.current)


def _model(found: re.Match[str]) -> str:
    seed = int(found["seed"])
    return f"model {found['model']}" + (f", seed {seed}" if seed else "")


def _scores(text: str) -> str:
    return "".join(f" {name} {value}" for name, value in re.findall(r"(\w+)=(\S+)", text))
