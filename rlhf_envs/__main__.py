"""`python -m rlhf_envs` is the command `rlhf-envs`."""

import sys

from rlhf_envs.cli import main

if __name__ == "__main__":
    sys.exit(main())
