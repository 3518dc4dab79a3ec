"""Galaxy entry point of unet_train."""

from gpulab.jobs import run_tool
from gpulab.unet.job import train_job

if __name__ == "__main__":
    run_tool(train_job)
