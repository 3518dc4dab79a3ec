"""Galaxy entry point of h5_dataset_split."""

from __future__ import annotations

from gpulab.h5.split_job import split_job
from gpulab.jobs import run_tool

if __name__ == "__main__":
    run_tool(split_job)
