"""Galaxy entry point of data_manager_colabfold_databases."""

from gpulab.fold.databases_job import databases_job
from gpulab.jobs import run_tool

if __name__ == "__main__":
    run_tool(databases_job)
