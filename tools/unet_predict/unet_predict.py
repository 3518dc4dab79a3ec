"""Galaxy entry point of unet_predict."""

from gpulab.jobs import run_tool
from gpulab.masks.job import predict_job

if __name__ == "__main__":
    run_tool(predict_job)
