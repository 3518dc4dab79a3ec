"""Submitting notebooks to a Galaxy server, and fetching what came back.

from gpulab.client import run_script_job

job = run_script_job("train.ipynb", ["data/big.h5"], parameters={"epochs": 10})
job.wait()
job.download("results")
"""

from gpulab.client.errors import RemoteJobError, ServerError, WaitLimitError
from gpulab.client.job import RemoteJob
from gpulab.client.states import JobStatus
from gpulab.client.submit import run_script_job
from gpulab.errors import InputError

__all__ = [
    "InputError",
    "JobStatus",
    "RemoteJob",
    "RemoteJobError",
    "ServerError",
    "WaitLimitError",
    "run_script_job",
]
