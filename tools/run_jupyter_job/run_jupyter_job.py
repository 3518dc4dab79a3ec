"""Galaxy entry point of run_jupyter_job."""

from gpulab.jobs import run_tool
from gpulab.notebook.job import notebook_job

if __name__ == "__main__":
    run_tool(notebook_job, more={"elements": False})
