"""Galaxy entry point of h5_dataset_build."""

from gpulab.h5.build_job import main

if __name__ == "__main__":
    main()
