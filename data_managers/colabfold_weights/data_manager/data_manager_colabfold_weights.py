"""Galaxy entry point of data_manager_colabfold_weights."""

from gpulab.fold.weights_job import weights_job
from gpulab.jobs import run_tool

if __name__ == "__main__":
    run_tool(weights_job)
