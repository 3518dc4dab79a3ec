"""`python -m gpulab.client` is the command `gpulab`."""

import sys

from gpulab.client.cli import main

if __name__ == "__main__":
    sys.exit(main())
