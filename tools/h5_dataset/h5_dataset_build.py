"""Galaxy entry point of h5_dataset_build."""

from gpulab.h5.build_job import build_job
from gpulab.jobs import run_tool

if __name__ == "__main__":
    run_tool(build_job, more={"files": True})
