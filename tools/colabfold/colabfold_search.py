"""Galaxy entry point of colabfold_search."""

from gpulab.fold.search_job import search_job
from gpulab.jobs import run_tool

if __name__ == "__main__":
    run_tool(search_job)
