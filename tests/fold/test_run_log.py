"""Reading ColabFold's log: lines as version 1.6.3 writes them."""

from __future__ import annotations

import pytest

from gpulab.fold.run_log import LogReader

STAMP = "2026-11-23 03:37:57,143 "
TAG = "alphafold2_ptm_model_3_seed_007"


def read(*lines: str) -> tuple[LogReader, list[str]]:
    told: list[str] = []
    reader = LogReader({"q0001": "Query 1 of 2: alpha"}, told.append)
    for line in lines:
        reader.feed(f"{STAMP}{line}\n")
    return reader, told


def test_progress_and_times() -> None:
    reader, told = read(
        "Running colabfold 1.6.3",
        "WARNING: no GPU detected, will be using CPU",
        "Query 1/2: q0001 (length 16)",
        "Sequence 0 found templates: ['t000_A']",
        f"{TAG} recycle=1 pLDDT=91 pTM=0.00157 tol=22.5",
        f"{TAG} took 17.7s (1 recycles)",
        "Relaxation took 9.1s",
        f"rank_001_{TAG} pLDDT=91 pTM=0.00157",
    )
    assert reader.device == "CPU"
    assert reader.timings == {"q0001": {TAG: (17.7, 1)}}
    assert reader.failures == {}
    assert told == [
        "Query 1 of 2: alpha",
        "  chain 1: templates: ['t000_A']",
        "  model 3, seed 7, recycle 1: pLDDT 91 pTM 0.00157 tol 22.5",
        "  model 3, seed 7: 17.7 s",
        "  relaxed in 9.1 s",
        "  rank 1: model 3, seed 7, pLDDT 91 pTM 0.00157",
    ]


@pytest.mark.parametrize(
    ("line", "reason", "memory"),
    [
        (
            "Could not get MSA/templates for q0001: Invalid character: *",
            "its alignment or the templates could not be used (Invalid character: *)",
            False,
        ),
        (
            "Could not generate input features q0001: boolean index did not match",
            "its alignment could not be used (boolean index did not match)",
            False,
        ),
        (
            "Could not predict q0001. Not Enough GPU memory? RESOURCE_EXHAUSTED: Out of memory",
            "memory ran out",
            True,
        ),
        (
            "Could not predict q0001. Not Enough GPU memory? INTERNAL: no kernel image",
            "the network could not be run (INTERNAL: no kernel image)",
            False,
        ),
    ],
)
def test_failures_that_end_with_code_0(line: str, reason: str, memory: bool) -> None:
    reader, told = read("Query 1/1: q0001 (length 16)", line)
    assert reader.failures["q0001"].reason == reason
    assert reader.failures["q0001"].out_of_memory is memory
    assert told[-1] == f"  not folded: {reason}"


def test_lines_without_a_time_are_no_events() -> None:
    told: list[str] = []
    reader = LogReader({}, told.append)
    reader.feed("Could not predict q0001. Not Enough GPU memory? quoted in a traceback\n")
    reader.feed("ValueError: the last words\n")
    reader.feed("\n")
    assert told == []
    assert reader.failures == {}
    assert reader.last == "ValueError: the last words"


def test_a_gpu_is_named() -> None:
    assert read("Running on GPU")[0].device == "GPU"
