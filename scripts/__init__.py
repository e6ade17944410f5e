"""The commands that train, measure and draw: `python -m scripts.train --help`. The others are `rlhf-envs --help`."""

from __future__ import annotations

import sys

from rlhf_envs.cli import prepare_start

# So a program is called until its own file has been found, for which Python imports its package first. Programs that
# import this package for anything else keep their signals.
if sys.argv[:1] == ["-m"]:
    prepare_start()
