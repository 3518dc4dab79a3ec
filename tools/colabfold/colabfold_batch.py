"""Galaxy entry point of colabfold_batch."""

from gpulab.fold.job import fold_job
from gpulab.jobs import run_tool

if __name__ == "__main__":
    run_tool(fold_job)
